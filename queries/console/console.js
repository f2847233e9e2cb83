"use strict";

const byId = (id) => document.getElementById(id);
const status = (text, bad) => {
  byId("status").textContent = text;
  byId("status").className = bad ? "bad" : "";
};

// How long a step of a chart is, by window. Days are kept by the hour.
const steps = { "5m": "10s", "15m": "10s", "1h": "1m", "24h": "1h", "168h": "1h" };

// What is followed, each with what draws its answer.
function followed() {
  const window = byId("window").value, tenant = byId("tenant").value.trim();
  const table = (name, query, draw) => {
    const q = new URLSearchParams(query);
    if (name !== "records") {
      q.set("window", window);
      if (tenant) q.set("tenant", tenant);
    }
    return ["/api/tables/" + name + "?" + q, draw];
  };
  const step = steps[window];
  return new Map([
    table("traffic", { by: "", step, columns: "count,errors,error_ratio" }, drawTraffic),
    table("latency", { by: "stage", step, columns: "stage,count,p50_seconds,p95_seconds,p99_seconds" }, drawLatency),
    table("usage", { by: "", step, columns: "requests,input_tokens,output_tokens" }, drawTokens),
    table("latency", { by: "stage", sort: "-p95_seconds", columns: "stage,count,avg_seconds,p50_seconds,p95_seconds,p99_seconds,max_seconds" }, rows("stages")),
    table("errors", { sort: "-count", limit: "30", columns: "state,tenant,app,stage,error_type,template,count,sessions,last_seen,samples" }, rows("errors")),
    table("traffic", { by: "event_type", sort: "-count", limit: "30" }, rows("traffic")),
    table("usage", { by: "model", sort: "-requests", limit: "30" }, rows("usage")),
    table("behaviour", { by: "event_type", sort: "-count", limit: "30" }, rows("behaviour")),
    table("records", { by: "topic,outcome" }, drawRecords),
    ["/api/v2/alerts", drawAlerts],
  ]);
}

// show writes a value as people read it.
function show(column, value) {
  if (value === null || value === undefined) return "–";
  if (column.type === "time") return new Date(value).toLocaleTimeString();
  if (column.type === "string") return value === "" ? "–" : value;
  if (column.unit === "ratio") return percent(value);
  if (column.unit === "seconds") return duration(value);
  if (column.type === "integer") return value.toLocaleString();
  return value.toFixed(2);
}
const percent = (v) => (v === 0 ? "0 %" : (100 * v).toFixed(v < 0.1 ? 2 : 1) + " %");
const duration = (s) => (s === 0 ? "0" : s < 0.01 ? (1000 * s).toFixed(2) + " ms" : s < 1 ? (1000 * s).toFixed(0) + " ms" : s.toFixed(2) + " s");
const amount = (v) => (v === 0 ? "0" : v >= 1e6 ? (v / 1e6).toFixed(1) + " M" : v >= 1e4 ? (v / 1e3).toFixed(1) + " k" : v >= 100 ? v.toFixed(0) : v.toFixed(v < 1 ? 2 : 1));
const label = (name) => name.replace(/_seconds$/, "").replaceAll("_", " ");
const isNumber = (column) => column.type === "integer" || column.type === "number";

// cell fills a cell. Samples are links to what happened.
function cell(td, column, value) {
  if (column.type !== "samples") {
    td.textContent = show(column, value);
    td.className = isNumber(column) ? "n" : column.name === "template" || column.name === "summary" ? "wide" : value === "new" ? "new" : "";
    return;
  }
  value.filter((s) => s.trace_id).forEach((s, i) => {
    const a = document.createElement("a");
    a.href = "traces/" + encodeURIComponent(s.trace_id) + "?at=" + encodeURIComponent(s.topic + "/" + s.partition + "@" + s.offset);
    a.textContent = i === 0 ? "newest" : "slowest";
    a.title = s.topic + "/" + s.partition + " at " + s.offset;
    td.append(a, " ");
  });
}

function drawTable(id, columns, list, empty) {
  const place = byId(id);
  if (list.length === 0) {
    const p = document.createElement("p");
    p.className = "empty";
    p.textContent = empty;
    place.replaceChildren(p);
    return;
  }
  const element = document.createElement("table");
  const head = element.createTHead().insertRow();
  for (const c of columns) {
    const th = document.createElement("th");
    th.scope = "col";
    th.textContent = label(c.name);
    if (isNumber(c)) th.className = "n";
    head.append(th);
  }
  const body = element.createTBody();
  for (const row of list) {
    const tr = body.insertRow();
    for (const c of columns) cell(tr.insertCell(), c, row[c.name]);
  }
  const { scrollTop, scrollLeft } = place;
  place.replaceChildren(element);
  place.scrollTop = scrollTop;
  place.scrollLeft = scrollLeft;
}

const rows = (id) => (answer) => drawTable(id, answer.columns, answer.rows, "nothing in this window");

const tiles = new Map(); // by name: [value, whether it is bad]
function tile(name, value, bad) {
  tiles.set(name, [value, bad]);
  byId("tiles").replaceChildren(...["events / s", "errors", "slowest stage", "tokens / min", "lag", "records"].filter((n) => tiles.has(n)).map((n) => {
    const [value, bad] = tiles.get(n);
    const div = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = n;
    dd.textContent = value;
    if (bad) dd.className = "bad";
    div.append(dt, dd);
    return div;
  }));
}

// grid returns the starts of the steps of an answer in seconds, where each is, and how many
// seconds of it are complete: the newest goes on, and is left out until it says something.
function grid(answer) {
  const g = { times: [], at: new Map(), seconds: [] };
  if (!answer.from || !answer.to || answer.watermark === null) return g;
  const step = answer.step_seconds, end = Date.parse(answer.to) / 1000, complete = Date.parse(answer.watermark) / 1000;
  for (let t = Math.ceil(Date.parse(answer.from) / 1000 / step) * step; t < end && complete - t >= Math.min(step, 5); t += step) {
    g.at.set(t, g.times.length);
    g.times.push(t);
    g.seconds.push(Math.min(step, complete - t));
  }
  return g;
}

// lineOf returns values of the rows at the times of a grid.
function lineOf(g, list, value, missing) {
  const line = g.times.map(() => missing);
  for (const row of list) {
    const i = g.at.get(Date.parse(row.window_start) / 1000);
    if (i !== undefined) line[i] = value(row, g.seconds[i]);
  }
  return line;
}

const mean = (list) => list.reduce((a, b) => a + b, 0) / Math.max(1, list.length);

function drawTraffic(answer) {
  const g = grid(answer);
  const qps = lineOf(g, answer.rows, (r, seconds) => r.count / seconds, 0);
  charts.draw("qps-chart", ["events / s"], [g.times, qps], amount);
  charts.draw("errors-chart", ["error ratio"], [g.times, lineOf(g, answer.rows, (r) => r.error_ratio, null)], percent);
  const count = answer.rows.reduce((n, r) => n + r.count, 0), errors = answer.rows.reduce((n, r) => n + r.errors, 0);
  tile("events / s", amount(mean(qps.slice(-Math.max(1, Math.round(60 / answer.step_seconds))))));
  tile("errors", count ? percent(errors / count) : "–");
  const { watermark, lag_seconds: lag } = answer;
  tile("lag", lag === null ? "–" : Math.round(lag) + " s", lag > 120);
  status(watermark === null ? "no event yet" : "complete up to " + new Date(watermark).toLocaleTimeString());
}

function drawLatency(answer) {
  const g = grid(answer), quantile = byId("quantile").value;
  const byStage = Map.groupBy(answer.rows, (r) => r.stage);
  const stages = [...byStage.keys()].sort();
  charts.draw("latency-chart", stages.map((s) => s || "–"), [g.times, ...stages.map((s) => lineOf(g, byStage.get(s), (r) => r[quantile], null))], duration);
  const slowest = answer.rows.filter((r) => Date.parse(r.window_start) / 1000 >= g.times.at(-2)).reduce((a, b) => (a && a[quantile] >= b[quantile] ? a : b), null);
  tile("slowest stage", slowest ? slowest.stage + " " + duration(slowest[quantile]) : "–");
  latest = answer;
}
let latest; // of latency, for another quantile

function drawTokens(answer) {
  const g = grid(answer);
  const input = lineOf(g, answer.rows, (r, seconds) => r.input_tokens / seconds, 0), output = lineOf(g, answer.rows, (r, seconds) => r.output_tokens / seconds, 0);
  charts.draw("tokens-chart", ["input", "output"], [g.times, input, output], amount);
  tile("tokens / min", amount(60 * ((input.at(-1) ?? 0) + (output.at(-1) ?? 0))));
}

// Every record ends as exactly one of counted, duplicate, late and poison.
function drawRecords(answer) {
  rows("records")(answer);
  const sum = (which) => answer.rows.filter(which).reduce((n, r) => n + r.count, 0);
  const came = sum((r) => r.outcome === "in"), ended = sum((r) => r.outcome !== "in");
  tile("records", came.toLocaleString() + (came > ended ? ", " + (came - ended).toLocaleString() + " in flight" : ", all accounted for"), ended > came);
}

const alertColumns = [
  { name: "severity", type: "string" }, { name: "alert", type: "string" }, { name: "labels", type: "string" },
  { name: "state", type: "string" }, { name: "since", type: "time" }, { name: "summary", type: "string" },
];

// The alerts that fire. Without rules nothing is shown.
function drawAlerts(answer) {
  const tenant = byId("tenant").value.trim();
  const list = answer.filter((a) => !tenant || a.labels.tenant === tenant).map(({ labels, annotations, startsAt, status }) => {
    const { alertname, severity = "", ...rest } = labels;
    const by = [["silenced", status.silencedBy], ["inhibited", status.inhibitedBy], ["muted", status.mutedBy]].filter(([, list]) => list.length);
    return {
      severity, alert: alertname, since: startsAt, summary: annotations.summary ?? "",
      labels: Object.entries(rest).map(([name, value]) => name + "=" + value).join(" "),
      state: by.length ? by.map(([how]) => how).join(", ") : "firing",
    };
  });
  list.sort((a, b) => a.severity.localeCompare(b.severity) || a.alert.localeCompare(b.alert) || a.labels.localeCompare(b.labels));
  byId("alerting").hidden = false;
  drawTable("alerts", alertColumns, list, "nothing fires");
}

// One stream follows everything. It is opened again when something else is to be shown, and
// closed while nobody looks.
let source, retry;
function follow() {
  source?.close();
  clearTimeout(retry);
  if (document.hidden) return;
  const what = followed();
  const q = new URLSearchParams();
  what.forEach((_, path) => q.append("path", path));
  source = new EventSource("api/stream?" + q);
  source.addEventListener("update", (event) => {
    const { path, status: code, body } = JSON.parse(event.data);
    if (code === 200) what.get(path)(body);
    else if (path === "/api/v2/alerts" && code === 404) byId("alerting").hidden = true;
    else status(body.error ? body.error + (body.hint ? ": " + body.hint : "") : "status " + code, true);
  });
  source.onerror = () => {
    status("the program does not answer", true);
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(follow, 3000); // else it tries again by itself
  };
}

let typing;
byId("window").addEventListener("change", follow);
byId("tenant").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(follow, 300); });
byId("quantile").addEventListener("change", () => latest && drawLatency(latest));
document.addEventListener("visibilitychange", follow);
follow();
