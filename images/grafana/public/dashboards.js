// Draws Grafana's dashboards, the files themselves: panels of the types timeseries, stat and table, with Prometheus' data.
const PROMETHEUS = "/api/datasources/proxy/uid/prometheus/api/v1/";
const POINTS = 120;
const REFRESH_MS = 30000;
const COLOURS = ["#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#06b6d4", "#84cc16", "#ec4899"];
const DIVISORS = {
  bytes: [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]],
  s: [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"], [1e-3, "ms"]],
};
const SUFFIXES = { percent: " %", reqps: "/s", ops: "/s", Bps: " B/s" };
const charts = [];

// format(0.25, "percentunit") is "25 %".
function format(value, unit) {
  if (Number.isNaN(value)) return "–";
  if (unit === "bool") return value ? "yes" : "no";
  if (unit === "dateTimeFromNow") return `${format(Date.now() / 1000 - value, "s")} ago`;
  if (unit === "percentunit") [value, unit] = [value * 100, "percent"];
  if (unit === "currencyUSD") return `$${value.toPrecision(3)}`;
  const scale = (DIVISORS[unit] ?? []).find(([divisor]) => Math.abs(value) >= divisor);
  if (scale) return `${rounded(value / scale[0])} ${scale[1]}`;
  return rounded(value) + (SUFFIXES[unit] ?? "");
}

const rounded = (value) => Number(value.toPrecision(3)).toLocaleString("en", { maximumFractionDigits: 3 });

async function ask(path, parameters) {
  const answer = await fetch(`${PROMETHEUS}${path}?${new URLSearchParams(parameters)}`);
  const body = await answer.json();
  if (body.status !== "success") throw new Error(body.error);
  return body.data.result;
}

const label = (target, metric) => target.legendFormat
  ? target.legendFormat.replace(/{{\s*(\w+)\s*}}/g, (_, name) => metric[name] ?? "")
  : Object.values(metric).join(" ") || target.expr;

function element(parent, tag, text = "", className = "") {
  const made = parent.appendChild(document.createElement(tag));
  made.textContent = text;
  made.className = className;
  return made;
}

async function timeseries(panel, body, unit, seconds) {
  const end = Math.floor(Date.now() / 1000);
  const step = Math.max(15, Math.ceil(seconds / POINTS));
  const times = { start: end - seconds, end, step };
  const found = await Promise.all(panel.targets.map((target) => ask("query_range", { query: target.expr, ...times })));
  const datasets = found.flatMap((series, index) => series.map((one) => ({
    label: label(panel.targets[index], one.metric),
    data: one.values.map(([x, y]) => ({ x, y: Number(y) })).filter(({ y }) => Number.isFinite(y)),
  })));
  if (!datasets.length) return false;
  datasets.forEach((one, index) => {
    const colour = COLOURS[index % COLOURS.length];
    Object.assign(one, { borderColor: colour, backgroundColor: colour, borderWidth: 1.5, pointRadius: one.data.length > 1 ? 0 : 2 });
  });
  const clock = (time) => new Date(time * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  charts.push(new Chart(element(body, "canvas"), {
    type: "line",
    data: { datasets },
    options: {
      animation: false, parsing: false, responsive: true, maintainAspectRatio: false,
      interaction: { mode: "nearest", axis: "x", intersect: false },
      scales: {
        x: { type: "linear", min: end - seconds, max: end, ticks: { callback: clock, maxTicksLimit: 8 } },
        y: { beginAtZero: true, ticks: { callback: (value) => format(value, unit), maxTicksLimit: 6 } },
      },
      plugins: {
        legend: { position: "bottom", labels: { boxWidth: 10, font: { size: 11 } } },
        tooltip: { callbacks: { title: ([item]) => clock(item.parsed.x), label: (item) => `${item.dataset.label}: ${format(item.parsed.y, unit)}` } },
      },
    },
  }));
  return true;
}

async function stat(panel, body, unit) {
  const rows = (await Promise.all(panel.targets.map((target) => ask("query", { query: target.expr })))).flat();
  if (rows.length) element(body, "div", rows.map((row) => format(Number(row.value[1]), unit)).join(" · "), "stat");
  return rows.length > 0;
}

async function table(panel, body, unit) {
  const rows = (await Promise.all(panel.targets.map((target) => ask("query", { query: target.expr })))).flat();
  if (!rows.length) return false;
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.metric)))].filter((name) => name !== "__name__").sort();
  const made = element(body, "table");
  const head = element(made, "tr");
  [...names, "value"].forEach((name) => element(head, "th", name));
  for (const row of rows) {
    const line = element(made, "tr");
    names.forEach((name) => element(line, "td", row.metric[name] ?? ""));
    element(line, "td", format(Number(row.value[1]), unit));
  }
  return true;
}

const KINDS = { timeseries, stat, table };

async function draw(panel, parent, seconds) {
  const section = element(parent, "section");
  const { x, y, w, h } = panel.gridPos;
  section.style.gridArea = `${y + 1} / ${x + 1} / span ${h} / span ${w}`;
  section.title = panel.description ?? "";
  element(section, "h2", panel.title);
  const body = element(section, "div", "", "body");
  try {
    const drawn = await KINDS[panel.type](panel, body, panel.fieldConfig?.defaults?.unit, seconds);
    if (!drawn) element(body, "div", panel.fieldConfig?.defaults?.noValue ?? "No data", "stat message");
  } catch (error) {
    element(body, "div", error.message, "stat error");
  }
}

async function show() {
  const files = (await (await fetch("/dashboards/")).json()).map((file) => file.name).filter((name) => name.endsWith(".json"));
  const dashboards = await Promise.all(files.map(async (name) => (await fetch(`/dashboards/${name}`)).json()));
  const uid = location.pathname.split("/")[2] ?? "overview";
  const chosen = dashboards.find((one) => one.uid === uid) ?? dashboards[0];
  const links = document.getElementById("dashboards");
  links.replaceChildren();
  dashboards.sort((a, b) => (b.uid === "overview") - (a.uid === "overview") || a.title.localeCompare(b.title));
  for (const one of dashboards) {
    const link = element(links, "a", one.title);
    link.href = `/d/${one.uid}`;
    if (one === chosen) link.setAttribute("aria-current", "page");
  }
  document.title = `${chosen.title} – letta-stack`;
  charts.splice(0).forEach((chart) => chart.destroy());
  const panels = document.createElement("main");
  panels.id = "panels";
  document.getElementById("panels").replaceWith(panels);
  const seconds = Number(document.getElementById("range").value);
  await Promise.all(chosen.panels.map((panel) => draw(panel, panels, seconds)));
  document.body.dataset.drawn = chosen.uid;
}

document.getElementById("range").addEventListener("change", show);
setInterval(show, REFRESH_MS);
show();
