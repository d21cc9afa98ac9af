"use strict";
// Depth and rates over time, with the time in which nothing could be sent; from points
// {at (ms), waiting, accepted, delivered, link}, the oldest first.
const plot = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const GAP_MS = 150e3; // Longer without a point: the agent did not run.
  const UP = ["online", "ramping"];
  const DEPTH_HIGH = 110, RATES_HIGH = 90, TOP = 24, BETWEEN = 34, BELOW = 24;

  function node(name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // What came and left since the point before, a second.
  function rates(points) {
    return points.map((point, i) => {
      const before = points[i - 1];
      const seconds = before ? (point.at - before.at) / 1000 : 0;
      if (!before || seconds <= 0 || seconds > GAP_MS / 1000) return { ...point, in: null, out: null };
      const a_second = (name) => Math.max(0, point[name] - before[name]) / seconds;
      return { ...point, in: a_second("accepted"), out: a_second("delivered") };
    });
  }

  // The smallest 1, 2 or 5 with zeros that is not below.
  function ceiling(most) {
    if (most <= 0) return 1;
    const unit = 10 ** Math.floor(Math.log10(most));
    return [1, 2, 5, 10].map((n) => n * unit).find((n) => n >= most * 0.999);
  }

  // A line through the points that have a value; broken where there is none, or where none came.
  function line(points, x, y, value) {
    let path = "", last = null;
    for (const point of points) {
      const v = value(point);
      if (v === null) { last = null; continue; }
      const joined = last && point.at - last.at <= GAP_MS;
      path += `${joined ? "L" : "M"}${x(point.at).toFixed(1)} ${y(v).toFixed(1)}`;
      last = point;
    }
    return path;
  }

  function area(points, x, y, floor) {
    let path = "", run = [];
    const close = () => {
      if (run.length > 1) {
        const along = run.map((p) => `L${x(p.at).toFixed(1)} ${y(p.waiting).toFixed(1)}`).join("");
        path += `M${x(run[0].at).toFixed(1)} ${floor}${along}L${x(run[run.length - 1].at).toFixed(1)} ${floor}Z`;
      }
      run = [];
    };
    for (const point of points) {
      if (run.length && point.at - run[run.length - 1].at > GAP_MS) close();
      run.push(point);
    }
    close();
    return path;
  }

  // Times in which nothing could be sent, as pairs.
  function outages(points, now) {
    const all = [];
    for (let i = 0; i < points.length; i++) {
      const [from, to] = [points[i], points[i + 1] || { at: now }];
      if (UP.includes(from.link) || to.at - from.at > GAP_MS) continue;
      const last = all[all.length - 1];
      if (last && last[1] === from.at) last[1] = to.at; else all.push([from.at, to.at]);
    }
    return all;
  }

  function panel(svg, { top, high, width, most, name, x, gaps }) {
    const y = (value) => top + high - (Math.min(value, most) / most) * high;
    for (const [from, to] of gaps) {
      const wide = Math.max(2, x(to) - x(from));
      svg.append(node("rect", { class: "gap", x: x(from).toFixed(1), y: top, width: wide.toFixed(1), height: high, fill: "url(#hatch)" }));
    }
    svg.append(node("path", { class: "grid", d: `M0 ${top}H${width}M0 ${top + high}H${width}` }));
    svg.append(node("text", { class: "quiet", x: 0, y: top - 7 }, name));
    return y;
  }

  function hatch() {
    const defs = node("defs", {});
    const pattern = node("pattern", { id: "hatch", width: 8, height: 8, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    pattern.append(node("path", { class: "hatch", d: "M0 0V8" }));
    defs.append(pattern);
    return defs;
  }

  // Fills `place`; `span` ms up to `now`, `words` are the page's own for numbers and spans.
  function draw(place, points, now, span, words) {
    const width = Math.max(240, Math.round(place.clientWidth - 18));
    const height = TOP + DEPTH_HIGH + BETWEEN + RATES_HIGH + BELOW;
    const from = now - span;
    const x = (at) => Math.max(0, ((at - from) / span) * width);
    const first = points.findIndex((point) => point.at >= from);
    const seen = first < 0 ? [] : rates(points.slice(Math.max(0, first - 1)));
    const most = (value) => seen.reduce((m, p) => Math.max(m, value(p)), 0);
    const deepest = most((p) => p.waiting), fastest = most((p) => Math.max(p.in || 0, p.out || 0));
    const gaps = outages(seen, now), svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    const last = seen[seen.length - 1];
    const blocked = gaps.reduce((sum, [a, b]) => sum + b - Math.max(a, from), 0);
    const told = `Last ${words.span(span / 1000)}: at most ${words.number(deepest)} records waited; at most ${words.rate(fastest)} a second came or left; nothing could be sent for ${words.span(Math.round(blocked / 1000))}.`;
    svg.setAttribute("aria-label", told);
    svg.append(hatch());
    const depthTop = ceiling(deepest), rateTop = ceiling(fastest);
    const y = panel(svg, { top: TOP, high: DEPTH_HIGH, width, most: depthTop, name: `Waiting, up to ${words.short(depthTop)}`, x, gaps });
    svg.append(node("path", { class: "below", d: area(seen, x, y, TOP + DEPTH_HIGH) }));
    svg.append(node("path", { class: "depth", d: line(seen, x, y, (p) => p.waiting) }));
    const below = TOP + DEPTH_HIGH + BETWEEN;
    const ry = panel(svg, { top: below, high: RATES_HIGH, width, most: rateTop, name: `A second, up to ${rateTop < 10 ? words.rate(rateTop) : words.short(rateTop)}`, x, gaps });
    svg.append(node("path", { class: "out", d: line(seen, x, ry, (p) => p.out) }));
    svg.append(node("path", { class: "in", d: line(seen, x, ry, (p) => p.in) }));
    svg.append(node("text", { class: "out-name", x: width, y: below - 7, "text-anchor": "end" }, "— out"));
    svg.append(node("text", { class: "in-name", x: width - 54, y: below - 7, "text-anchor": "end" }, "- - in"));
    const foot = height - 6;
    svg.append(node("text", { class: "quiet", x: 0, y: foot }, `${words.span(span / 1000)} ago`));
    svg.append(node("text", { class: "quiet", x: width / 2, y: foot, "text-anchor": "middle" }, `${words.span(span / 2000)}`));
    svg.append(node("text", { class: "quiet", x: width, y: foot, "text-anchor": "end" }, "now"));
    if (!last) svg.append(node("text", { x: width / 2, y: TOP + DEPTH_HIGH / 2, "text-anchor": "middle" }, "Nothing yet"));
    place.replaceChildren(svg);
  }

  return { draw };
})();
