// Draws each figure's table as a line with its any-time band. The table stays: it is the chart's text.
"use strict";

(() => {
  const HEIGHT = 230;
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

  const options = (width) => {
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    return {
      width,
      height: HEIGHT - 30,
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      cursor: { y: false, drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [Math.min(low, -1) * 1.05, Math.max(high, 1) * 1.05] } },
      axes: [{ ...axis, space: 70 }, { ...axis, size: 62, values: (_, ticks) => ticks.map(points) }],
      bands: [{ series: [1, 2], fill: `color-mix(in srgb, ${colour("--candidate")} 22%, transparent)` }],
      series: [
        { value: (_, at) => (at ? new Date(at * 1000).toISOString().slice(0, 10) : "—") },
        { ...edge, label: "upper", value: (_, value) => points(value) },
        { ...edge, label: "lower", value: (_, value) => points(value) },
        { label: "estimate", stroke: colour("--candidate"), width: 2, points: { size: 5 }, value: (_, value) => points(value) },
      ],
      hooks: {
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
    drawn.set(box, new uPlot(options(box.clientWidth), data, box));
  };

  const drawAll = () => document.querySelectorAll("[data-chart]").forEach(draw);

  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const plot = drawn.get(target);
      if (plot && plot.width !== target.clientWidth) plot.setSize({ width: target.clientWidth, height: HEIGHT - 30 });
    }
  });

  document.addEventListener("DOMContentLoaded", () => {
    drawAll();
    document.querySelectorAll("[data-chart]").forEach((box) => resized.observe(box));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    // the table was refreshed under the chart
    document.body.addEventListener("htmx:after:swap", () => drawn.forEach((plot, box) => plot.setData(columns(box.closest("figure")))));
  });
})();
