"use strict";

// Each table: how it is sorted, and how many rows are shown.
const tables = [
  { name: "traffic", by: "count", limit: 50 },
  { name: "latency", by: "p95_seconds", limit: 50 },
  { name: "errors", by: "count", limit: 30 },
  { name: "records", by: "count", limit: 50 },
];
const refreshEvery = 2000; // ms
const hidden = new Set(["samples"]);
const wide = new Set(["template", "summary"]);

const byId = (id) => document.getElementById(id);
const status = (text, bad) => {
  byId("status").textContent = text;
  byId("status").className = bad ? "bad" : "";
};

function query(table) {
  const q = new URLSearchParams();
  const window = byId("window").value;
  if (window === "total" || table.name === "records") q.set("total", "true");
  else q.set("window", window);
  const tenant = byId("tenant").value.trim();
  if (tenant && table.name !== "records") q.set("tenant", tenant);
  return "api/tables/" + table.name + "?" + q;
}

// show writes a value as people read it.
function show(column, value) {
  if (value === null || value === undefined) return "–";
  if (column.type === "time") return new Date(value).toLocaleTimeString();
  if (column.type === "string") return value === "" ? "–" : value;
  if (column.unit === "ratio") return (100 * value).toFixed(2) + " %";
  if (column.unit === "seconds") return value < 1 ? (1000 * value).toFixed(value < 0.01 ? 2 : 0) + " ms" : value.toFixed(2) + " s";
  if (column.type === "integer") return value.toLocaleString();
  return value.toFixed(2);
}

const label = (name) => name.replace(/_seconds$/, "").replaceAll("_", " ");

function draw(table, answer) {
  const place = byId(table.name);
  const rows = answer.rows.slice();
  if (table.by) rows.sort((a, b) => (b[table.by] ?? -1) - (a[table.by] ?? -1));
  rows.splice(table.limit);
  if (rows.length === 0) {
    const p = document.createElement("p");
    p.className = "empty";
    p.textContent = table.empty ?? "nothing in this window";
    place.replaceChildren(p);
    return;
  }
  const columns = answer.columns.filter((c) => !hidden.has(c.name));
  const element = document.createElement("table");
  const head = element.createTHead().insertRow();
  for (const c of columns) {
    const th = document.createElement("th");
    th.scope = "col";
    th.textContent = label(c.name);
    if (c.type === "integer" || c.type === "number") th.className = "n";
    head.append(th);
  }
  const body = element.createTBody();
  for (const row of rows) {
    const tr = body.insertRow();
    for (const c of columns) {
      const td = tr.insertCell();
      td.textContent = show(c, row[c.name]);
      if (c.type === "integer" || c.type === "number") td.className = "n";
      if (wide.has(c.name)) td.className = "wide";
    }
  }
  const { scrollTop, scrollLeft } = place;
  place.replaceChildren(element);
  place.scrollTop = scrollTop;
  place.scrollLeft = scrollLeft;
}

const alertColumns = [
  { name: "severity", type: "string" }, { name: "alert", type: "string" }, { name: "labels", type: "string" },
  { name: "state", type: "string" }, { name: "since", type: "time" }, { name: "summary", type: "string" },
];

// The alerts that fire. Without rules there is nothing to ask, and nothing is shown.
async function refreshAlerts() {
  const response = await fetch("api/v2/alerts", { headers: { Accept: "application/json" } });
  byId("alerting").hidden = response.status === 404;
  if (response.status === 404) return;
  const answer = await response.json();
  if (!response.ok) throw new Error(answer);
  const tenant = byId("tenant").value.trim();
  const rows = answer.filter((a) => !tenant || a.labels.tenant === tenant).map(({ labels, annotations, startsAt, status }) => {
    const { alertname, severity = "", ...rest } = labels;
    const by = [["silenced", status.silencedBy], ["inhibited", status.inhibitedBy], ["muted", status.mutedBy]].filter(([, list]) => list.length);
    return {
      severity, alert: alertname, since: startsAt, summary: annotations.summary ?? "",
      labels: Object.entries(rest).map(([name, value]) => name + "=" + value).join(" "),
      state: by.length ? by.map(([how]) => how).join(", ") : "firing",
    };
  });
  rows.sort((a, b) => a.severity.localeCompare(b.severity) || a.alert.localeCompare(b.alert) || a.labels.localeCompare(b.labels));
  draw({ name: "alerts", limit: 50, empty: "nothing fires" }, { columns: alertColumns, rows });
}

async function refresh() {
  try {
    const answers = await Promise.all(tables.map(async (table) => {
      const response = await fetch(query(table), { headers: { Accept: "application/json" } });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.error + (answer.hint ? ": " + answer.hint : ""));
      return answer;
    }));
    answers.forEach((answer, i) => draw(tables[i], answer));
    const { watermark, lag_seconds: lag } = answers[0];
    status(watermark === null ? "no event yet" : "complete up to " + new Date(watermark).toLocaleTimeString() + ", " + Math.round(lag) + " s behind");
    await refreshAlerts();
  } catch (e) {
    status(e instanceof TypeError ? "the program does not answer" : e.message, true);
  }
}

let timer;
async function loop() {
  clearTimeout(timer);
  if (!document.hidden) await refresh();
  timer = setTimeout(loop, refreshEvery);
}
byId("window").addEventListener("change", loop);
byId("tenant").addEventListener("input", loop);
document.addEventListener("visibilitychange", loop);
loop();
