"use strict";

const byId = (id) => document.getElementById(id);
const create = (name, text, kind) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  return element;
};
const duration = (s) => (s < 0.0005 ? "0" : s < 1 ? (1000 * s).toFixed(0) + " ms" : s.toFixed(2) + " s");
const seconds = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;

// tile adds one of the numbers above.
function tile(name, value, bad) {
  const div = create("div");
  div.append(create("dt", name), create("dd", value, bad ? "bad" : ""));
  byId("tiles").append(div);
}

// step draws one step: its name, what is known of it, and when it ran.
function step(s, answer, slowest) {
  const li = create("li", undefined, s.status), last = s.events.at(-1), whole = Math.max(answer.duration_seconds, 1e-3);
  const head = create("div", undefined, "name");
  head.append(create("strong", s.stage || last.event_type), " ", create("span", s.events.map((e) => e.event_type).join(" → "), "soft"));
  const facts = [s.duration_seconds === null ? "" : duration(s.duration_seconds), s.model, s.status === "ok" ? "" : s.status];
  if (slowest) facts.push("slowest");
  if (s.gap_seconds > 0) facts.push("after a gap of " + duration(s.gap_seconds));
  if (last.ttft_seconds) facts.push("first token after " + duration(last.ttft_seconds));
  if (last.input_tokens || last.output_tokens) facts.push((last.input_tokens ?? 0) + " → " + (last.output_tokens ?? 0) + " tokens");
  if (s.copies > 0) facts.push(s.copies + (s.copies === 1 ? " copy" : " copies"));
  const line = create("div", undefined, "line"), bar = create("div", undefined, slowest ? "bar slowest" : "bar");
  const from = seconds(answer.start, s.start) / whole, took = (s.duration_seconds ?? 0) / whole;
  bar.style.marginLeft = 100 * Math.min(from, 0.995) + "%";
  bar.style.width = "max(3px, " + 100 * Math.min(took, 1 - from) + "%)";
  line.append(bar);
  li.append(head, create("div", facts.filter(Boolean).join(" · "), "soft"), line);
  if (last.error_type || last.error_template) li.append(create("div", [last.error_type, last.error_template].filter(Boolean).join(": "), "bad"));
  li.append(create("div", s.events.map((e) => e.topic + "/" + e.partition + "@" + e.offset).join(", "), "soft place"));
  for (const e of s.events) if (e.content) li.append(create("pre", JSON.stringify(e.content, null, 2)));
  return li;
}

async function show() {
  try {
    const id = decodeURIComponent(location.pathname.split("/").at(-1));
    byId("id").value = id;
    const response = await fetch("../api/traces/" + encodeURIComponent(id) + location.search);
    const answer = await response.json();
    const search = answer.search;
    if (search) byId("searched").textContent = search.records.toLocaleString() + " records were searched" + (search.from ? ", from " + new Date(search.from).toLocaleTimeString() + " to " + new Date(search.to).toLocaleTimeString() : "") + ".";
    if (response.ok) byId("status").textContent = new Date(answer.start).toLocaleString();
    else {
      byId("status").textContent = answer.error + (answer.hint ? ": " + answer.hint : "");
      byId("status").className = "bad";
    }
    if (answer.found && search.stopped !== "found") byId("searched").textContent += " There may be more of this trace: the search " + (search.stopped === "error" ? "could not go on." : "has reached a bound.");
    else if (answer.found && search.held) byId("searched").textContent += " There may be more of this trace behind an open transaction.";
    if (!response.ok && search?.next) {
      const a = create("a", " Search on");
      a.href = "?after=" + encodeURIComponent(search.next);
      byId("searched").append(a);
    }
    if (!answer.found) return; // what was found before an error is drawn
    tile("duration", duration(answer.duration_seconds));
    tile("status", answer.status, answer.status === "error");
    if (answer.slowest_step !== null) {
      const s = answer.steps[answer.slowest_step];
      tile("slowest step", s.stage + " " + duration(s.self_seconds));
    }
    byId("steps").replaceChildren(...answer.steps.map((s, i) => step(s, answer, i === answer.slowest_step)));
  } catch (e) {
    if (e instanceof URIError) byId("status").textContent = "the address of this page ends with no trace id: it is no UTF-8";
    else byId("status").textContent = e instanceof TypeError ? "the program does not answer" : e.message;
    byId("status").className = "bad";
  }
}

byId("other").addEventListener("submit", (event) => {
  event.preventDefault();
  if (byId("id").value) location.href = encodeURIComponent(byId("id").value);
});
show();
