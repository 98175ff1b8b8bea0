// Draws each figure's table as a line with its any-time band. The table stays: it is the chart's text.
"use strict";

(() => {
  const HEIGHT = 200;
  const DAY = 86_400;
  const days = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = (text) => (text === "" ? null : Number(text) * 100);
  const points = (value) => (value === null || value === undefined ? "—" : `${value > 0 ? "+" : ""}${value.toFixed(1)} pp`.replace("-", "−"));

  const columns = (figure) => {
    const rows = [...figure.querySelectorAll("tr[data-at]")];
    return [
      rows.map((row) => Number(row.dataset.at)),
      rows.map((row) => number(row.dataset.high)),
      rows.map((row) => number(row.dataset.low)),
      rows.map((row) => number(row.dataset.middle)),
    ];
  };

  // The first days' bands are so wide that they would flatten all that follows: they may run out of the frame.
  const frame = (data) => {
    const [, high, low, middle] = data.map((column) => column.slice(-Math.ceil(column.length * 0.6)));
    const seen = [...high, ...low, ...middle, 1, -1].filter((value) => value !== null);
    const [bottom, top] = [Math.min(...seen), Math.max(...seen)];
    const room = 0.08 * (top - bottom);
    return [bottom - room, top + room];
  };

  // The words of the day under the cursor, else of the newest, as the table has them.
  const read = (plot, box) => {
    const figure = box.closest("figure");
    const rows = [...figure.querySelectorAll("tr[data-at]")];
    const row = rows[plot.cursor.idx ?? rows.length - 1];
    const [range, estimate] = [...row.cells].slice(1).map((cell) => cell.textContent);
    figure.querySelector("[data-readout]").textContent = `${row.cells[0].textContent}: ${range}, best estimate ${estimate}`;
  };

  const options = (width, box) => {
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    return {
      width,
      height: HEIGHT,
      legend: { show: false },
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      cursor: { y: false, drag: { x: false, y: false } },
      scales: { y: { range: (plot) => frame(plot.data) } },
      axes: [
        { ...axis, space: 70, size: 30, incrs: [1, 2, 7, 14, 28, 91].map((n) => n * DAY), values: (_, ticks) => ticks.map((at) => days.format(at * 1000)) },
        { ...axis, size: 70, values: (_, ticks) => ticks.map(points) },
      ],
      bands: [{ series: [1, 2], fill: `color-mix(in srgb, ${colour("--candidate")} 22%, transparent)` }],
      series: [{}, edge, edge, { stroke: colour("--candidate"), width: 2, points: { size: 5 } }],
      hooks: {
        setCursor: [(plot) => read(plot, box)],
        drawAxes: [(plot) => {
          const y = Math.round(plot.valToPos(0, "y", true));
          plot.ctx.save();
          plot.ctx.strokeStyle = colour("--strong-line");
          plot.ctx.lineWidth = devicePixelRatio;
          plot.ctx.beginPath();
          plot.ctx.moveTo(plot.bbox.left, y);
          plot.ctx.lineTo(plot.bbox.left + plot.bbox.width, y);
          plot.ctx.stroke();
          plot.ctx.restore();
        }],
      },
    };
  };

  const drawn = new Map();

  const draw = (box) => {
    drawn.get(box)?.destroy();
    const data = columns(box.closest("figure"));
    const plot = new uPlot(options(box.clientWidth, box), data, box);
    drawn.set(box, plot);
    read(plot, box);
  };

  const drawAll = () => document.querySelectorAll("[data-chart]").forEach(draw);

  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const plot = drawn.get(target);
      if (plot && plot.width !== target.clientWidth) plot.setSize({ width: target.clientWidth, height: HEIGHT });
    }
  });

  document.addEventListener("DOMContentLoaded", () => {
    drawAll();
    document.querySelectorAll("[data-chart]").forEach((box) => resized.observe(box));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    // the table was refreshed under the chart
    document.body.addEventListener("htmx:after:swap", () => drawn.forEach((plot, box) => {
      plot.setData(columns(box.closest("figure")));
      read(plot, box);
    }));
  });
})();
