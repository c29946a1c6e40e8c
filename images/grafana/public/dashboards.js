// Draws Grafana's dashboards, the files themselves: panels of the types timeseries, stat, table and row, with Prometheus' data.
// The names of the parts, for tests, are Grafana's own.
import { format, step } from "/units.js";

const PROMETHEUS = "/api/datasources/proxy/uid/prometheus/api/v1/";
const POINTS = 120;
const REFRESH_MS = 30000;
const SERIES = ["#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#06b6d4", "#84cc16", "#ec4899", "#a16207", "#64748b", "#14532d", "#7c2d12", "#1e3a8a", "#be185d", "#4d7c0f", "#0e7490"];
const COLOURS = { green: "#22a559", yellow: "#d9a400", orange: "#ea7317", red: "#dc3545", text: "inherit" };
const charts = [];

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

// The colour of the last step that the value has reached.
function colour(value, thresholds) {
  const reached = (thresholds?.steps ?? []).filter((step) => step.value === null || value >= step.value);
  return COLOURS[reached.at(-1)?.color ?? "text"];
}

// A line across the chart at each step after the first, where the panel asks for it.
const goals = (defaults, start, end) => (defaults.custom?.thresholdsStyle?.mode ?? "off") === "off" ? [] :
  (defaults.thresholds?.steps ?? []).filter((step) => step.value !== null).map((step) => ({
    data: [{ x: start, y: step.value }, { x: end, y: step.value }], goal: true,
    borderColor: COLOURS[step.color], borderDash: [6, 4], borderWidth: 1, pointRadius: 0,
  }));

// A line ends where there is nothing, and begins anew.
const points = (values, width) => values.filter(([, y]) => Number.isFinite(Number(y))).flatMap(([x, y], index, kept) => [
  ...(index && x - kept[index - 1][0] > width ? [{ x: x - width, y: NaN }] : []), { x, y: Number(y) },
]);

const clock = (time) => new Date(time * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

async function timeseries(panel, body, defaults, seconds) {
  const end = Math.floor(Date.now() / 1000);
  const start = end - seconds;
  const times = { start, end, step: Math.max(15, Math.ceil(seconds / POINTS)) };
  const found = await Promise.all(panel.targets.map((target) => ask("query_range", { query: target.expr, ...times })));
  const stacked = defaults.custom?.stacking?.mode === "normal";
  const datasets = found.flatMap((series, index) => series.map((one) => ({
    label: label(panel.targets[index], one.metric),
    data: points(one.values, times.step),
  }))).filter((one) => one.data.length);
  if (!datasets.length) return false;
  datasets.forEach((one, index) => {
    const mine = SERIES[index % SERIES.length];
    one.last = format(one.data.at(-1).y, defaults);
    Object.assign(one, {
      borderColor: mine, backgroundColor: stacked ? `${mine}55` : mine, borderWidth: 1.5, fill: stacked,
      pointRadius: one.data.length > 1 ? 0 : 2, stack: stacked ? "all" : undefined,
    });
  });
  const grid = getComputedStyle(document.documentElement).getPropertyValue("--grid");
  charts.push(new Chart(element(body, "canvas"), {
    type: "line",
    data: { datasets: [...datasets, ...goals(defaults, start, end)] },
    options: {
      animation: false, parsing: false, responsive: true, maintainAspectRatio: false,
      interaction: { mode: "nearest", axis: "x", intersect: false },
      scales: {
        x: { type: "linear", min: start, max: end, grid: { color: grid }, ticks: { callback: clock, maxTicksLimit: 8, maxRotation: 0 } },
        y: {
          stacked, min: defaults.min, max: defaults.max, grid: { color: grid },
          ticks: { callback: (value) => format(value, defaults) },
          afterBuildTicks: (axis) => {
            const width = step(axis.max, defaults.unit);
            axis.ticks = Array.from({ length: Math.floor(axis.max / width * 1.001) + 1 }, (_, index) => ({ value: index * width }));
          },
        },
      },
      plugins: {
        legend: {
          position: panel.options?.legend?.placement ?? "bottom", align: "start", maxWidth: 260,
          labels: {
            boxWidth: 10, boxHeight: 2, font: { size: 11 }, filter: (item, { datasets: all }) => !all[item.datasetIndex].goal,
            generateLabels: (chart) => Chart.defaults.plugins.legend.labels.generateLabels(chart).map((item) => ({
              ...item, text: `${item.text}  ${chart.data.datasets[item.datasetIndex].last ?? ""}`,
            })),
          },
        },
        tooltip: {
          filter: (item) => !item.dataset.goal,
          callbacks: { title: ([item]) => item && clock(item.parsed.x), label: (item) => `${item.dataset.label}: ${format(item.parsed.y, defaults)}` },
        },
      },
    },
  }));
  return true;
}

const now = async (panel) => (await Promise.all(panel.targets.map((target) => ask("query", { query: target.expr })))).flat();

async function stat(panel, body, defaults) {
  const rows = await now(panel);
  if (!rows.length) return false;
  const line = element(body, "div", "", "stat");
  for (const row of rows) {
    const value = Number(row.value[1]);
    element(line, "span", format(value, defaults)).style.color = colour(value, defaults.thresholds);
  }
  return true;
}

// One row for each set of labels; of several questions each has a column of its own.
function joined(found) {
  const rows = new Map();
  found.forEach((series, index) => series.forEach(({ metric: { __name__, ...labels }, value }) => {
    const key = JSON.stringify(Object.entries(labels).sort());
    if (!rows.has(key)) rows.set(key, { labels, values: {} });
    const name = found.length > 1 ? `Value #${String.fromCharCode(65 + index)}` : "Value";
    rows.get(key).values[name] = Number(value[1]);
  }));
  return [...rows.values()];
}

async function table(panel, body, defaults) {
  const rows = joined(await Promise.all(panel.targets.map((target) => ask("query", { query: target.expr }))));
  if (!rows.length) return false;
  const { excludeByName = {}, renameByName = {}, indexByName = {} } =
    panel.transformations?.find((one) => one.id === "organize")?.options ?? {};
  const found = new Set(rows.flatMap(({ labels, values }) => [...Object.keys(labels), ...Object.keys(values)]));
  const columns = [...found].filter((name) => !excludeByName[name]).sort((a, b) => (indexByName[a] ?? 99) - (indexByName[b] ?? 99))
    .map((name) => {
      const title = renameByName[name] ?? name;
      const own = panel.fieldConfig.overrides.filter((one) => one.matcher.options === title).flatMap((one) => one.properties);
      const field = { ...defaults, ...Object.fromEntries(own.map(({ id, value }) => [id, value])) };
      return { name, title, field, style: name.startsWith("Value") ? "number" : "" };
    });
  const made = element(body, "table");
  const head = element(made, "tr");
  columns.forEach(({ title, style }) => element(head, "th", title, style));
  const first = columns.find(({ style }) => style)?.name;
  for (const { labels, values } of rows.sort((a, b) => (b.values[first] ?? 0) - (a.values[first] ?? 0))) {
    const line = element(made, "tr");
    for (const { name, field, style } of columns) {
      const cell = element(line, "td", style ? format(values[name] ?? NaN, field) : labels[name] ?? "", style);
      if (style) cell.style.color = colour(values[name], field.thresholds);
    }
  }
  return true;
}

const KINDS = { timeseries, stat, table };

async function draw(panel, parent, seconds) {
  const section = element(parent, panel.type === "row" ? "h1" : "section", panel.type === "row" ? panel.title : "");
  const { x, y, w, h } = panel.gridPos;
  section.style.gridArea = `${y + 1} / ${x + 1} / span ${h} / span ${w}`;
  if (panel.type === "row") return;
  section.dataset.testid = `data-testid Panel header ${panel.title}`;
  const title = element(section, "h2", panel.title);
  if (panel.description && panel.type !== "stat") element(title, "span", panel.description, "description");
  const loading = element(section, "div", "", "loading");
  loading.ariaLabel = "Panel loading bar";
  const body = element(section, "div", "", "body");
  body.dataset.testid = "data-testid panel content";
  const defaults = panel.fieldConfig?.defaults ?? {};
  try {
    const drawn = await KINDS[panel.type](panel, body, defaults, seconds);
    if (!drawn) element(body, "div", defaults.noValue ?? "No data", "message");
  } catch (error) {
    element(body, "div", error.message, "message error").dataset.testid = "data-testid Panel status error";
  }
  if (panel.description && panel.type === "stat") element(section, "div", panel.description, "description");
  loading.remove();
}

// Those of the stack, and a user's own.
async function read() {
  const names = (await (await fetch("/dashboards/")).json()).map((file) => file.name).filter((name) => name.endsWith(".json"));
  const all = await Promise.all(names.map(async (name) => (await fetch(`/dashboards/${name}`)).json()));
  return all.sort((a, b) => (b.uid === "overview") - (a.uid === "overview") || a.title.localeCompare(b.title));
}

async function show() {
  const dashboards = await read();
  const uid = location.pathname.split("/")[2] ?? "overview";
  const chosen = dashboards.find((one) => one.uid === uid) ?? dashboards[0];
  const links = document.getElementById("dashboards");
  links.replaceChildren();
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
}

Chart.defaults.color = getComputedStyle(document.body).color;
Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
document.getElementById("range").addEventListener("change", show);
setInterval(show, REFRESH_MS);
show();
