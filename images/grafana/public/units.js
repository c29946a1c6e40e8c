// Numbers as people read them: Grafana's units, as far as the dashboards use them.
const SCALES = {
  bytes: [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]],
  Bps: [[1e9, "GB/s"], [1e6, "MB/s"], [1e3, "kB/s"], [1, "B/s"]],
  s: [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"], [1e-3, "ms"], [1e-6, "µs"]],
  short: [[1e9, "B"], [1e6, "M"], [1e3, "k"]],
};
const SUFFIXES = { percent: " %", reqps: " req/s", ops: " ops/s", cpm: " /min", bytes: " B", Bps: " B/s", s: " s" };

// Three digits, all of those before the point.
function rounded(value, decimals) {
  const digits = decimals ?? Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toLocaleString("en", { maximumFractionDigits: Math.min(digits, 6) });
}

// format(0.25, { unit: "percentunit" }) is "25 %".
export function format(value, { unit, decimals }) {
  if (!Number.isFinite(value)) return "–";
  switch (unit) {
    case "bool_yes_no": return value ? "Yes" : "No";
    case "dateTimeFromNow": return `${format((Date.now() - value) / 1000, { unit: "s" })} ago`;
    case "percentunit": return format(value * 100, { unit: "percent", decimals });
    case "currencyUSD": return `$${rounded(value, decimals ?? (Math.abs(value) < 1 ? 4 : 2))}`;
    default: {
      const scale = (SCALES[unit] ?? []).find(([divisor]) => Math.abs(value) >= divisor);
      if (scale) return `${rounded(value / scale[0], decimals)} ${scale[1]}`;
      return rounded(value, decimals) + (unit?.startsWith("suffix:") ? unit.slice("suffix:".length) : SUFFIXES[unit] ?? "");
    }
  }
}

// The distance of the lines across a chart: 1, 2 or 5 of what people count in, about five of them.
export function step(most, unit) {
  const [divisor] = (SCALES[unit] ?? []).find(([scale]) => most >= scale) ?? [1];
  const wanted = Math.max(most, 1e-9) / divisor / 5;
  const power = 10 ** Math.floor(Math.log10(wanted));
  return divisor * power * [1, 2, 5, 10].find((factor) => factor * power >= wanted * 0.999);
}
