"use strict";

// Charts of values by time. Each is drawn again from the newest answer, in the colours of
// the page.
const charts = (() => {
  const drawn = new Map(); // by id of the place: {plot, shape, data}
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colours = (n) => Array.from({ length: n }, (_, i) => css("--series-" + (1 + (i % 9))));

  // clock writes the times of an axis: with the day where there are several.
  function clock(times) {
    const days = times.length > 1 && times.at(-1) - times[0] > 86400;
    const format = days ? { weekday: "short", hour: "2-digit", minute: "2-digit" } : { hour: "2-digit", minute: "2-digit" };
    return times.map((t) => new Date(1000 * t).toLocaleString([], format));
  }

  // newest is what the legend shows while nobody points at a time: what a line ends with.
  const newest = (plot, line) => plot.data[line].at(-1);

  function options(place, lines, format) {
    const line = css("--line"), text = css("--soft");
    const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui, sans-serif" };
    const colour = colours(lines.length);
    return {
      width: place.clientWidth, height: 180, padding: [8, 28, 0, 0],
      cursor: { y: false, points: { size: 6 } },
      legend: { live: true },
      scales: { x: { time: true }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, space: 80, incrs: [60, 300, 600, 1800, 3600, 10800, 21600, 43200, 86400], values: (_, times) => clock(times) }, { ...axis, size: 64, values: (_, values) => values.map(format) }],
      series: [
        { label: "at", value: (plot, at) => new Date(1000 * (at ?? newest(plot, 0))).toLocaleTimeString() },
        ...lines.map((label, i) => ({
          label, stroke: colour[i], width: 1.5, spanGaps: false, points: { show: false },
          value: (plot, v, line, at) => ((v = at === null ? newest(plot, line) : v) === null || v === undefined ? "–" : format(v)),
        })),
      ],
    };
  }

  // draw shows lines over times: data is the times in seconds, then one list for each line.
  function draw(id, lines, data, format) {
    const place = document.getElementById(id);
    const shape = JSON.stringify(lines) + css("--soft");
    const before = drawn.get(id);
    if (before && before.shape === shape) {
      before.data = data;
      before.plot.setData(data);
      return;
    }
    before?.plot.destroy();
    const plot = new uPlot(options(place, lines, format), data, place);
    drawn.set(id, { plot, shape, data, again: () => draw(id, lines, drawn.get(id).data, format) });
  }

  const fit = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const of = drawn.get(target.id);
      if (of && target.clientWidth > 0) of.plot.setSize({ width: target.clientWidth, height: 180 });
    }
  });
  document.querySelectorAll(".chart").forEach((place) => fit.observe(place));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((of) => of.again()));
  return { draw };
})();
