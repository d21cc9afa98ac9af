"use strict";
// Shows what /events tells: `history` once, then `state` every other second. Nothing is ever put
// into the page other than as text.
(() => {
  const RATE_OVER_MS = 10e3, FINE_MS = 5e3, KEPT_MS = 6 * 3600e3, SILENT_MS = 15e3, RETRY_MS = [500, 1000, 2000, 4000];
  const RANGES = [["10 min", 600e3], ["1 h", 3600e3], ["6 h", 6 * 3600e3]];
  const by = (id) => document.getElementById(id);

  // What is known.
  let told = null, toldAt = 0, looks = [], points = [];
  // How it stands with the agent: null while it tells, else since when it does not, why, and
  // whether there is contact all the same (mute).
  let lost = null, begun = false, range = null, everyMs = 2000;
  // The request under way, and when something was last heard.
  let asking = null, heardAt = 0;

  // Words.
  const plural = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;
  const number = (n) => Math.round(n).toLocaleString("en");
  const rate = (n) => (n < 100 ? n.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 }) : number(n));
  function span(seconds) {
    const parts = [[Math.floor(seconds / 86400), "d"], [Math.floor(seconds / 3600) % 24, "h"], [Math.floor(seconds / 60) % 60, "min"], [Math.floor(seconds) % 60, "s"]];
    const first = parts.findIndex(([n]) => n > 0);
    return first < 0 ? "0\u00a0s" : parts.slice(first, first + 2).filter(([n]) => n > 0).map(([n, unit]) => `${n}\u00a0${unit}`).join(" ");
  }
  function bytes(n) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let at = 0;
    while (n >= 1024 && at < units.length - 1) { n /= 1024; at++; }
    return at ? `${n.toLocaleString("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 })}\u00a0${units[at]}` : `${n}\u00a0B`;
  }
  // A moment by this device's clock, since the gateway's may not be set.
  function moment(ms, seconds) {
    const at = new Date(ms), clock = { hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined };
    const time = at.toLocaleTimeString([], clock);
    return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
  }
  const since = (seconds) => moment(toldAt - seconds * 1000, seconds < 120);
  const short = (n) => (n < 1e6 ? number(n) : n.toLocaleString("en", { notation: "compact" }));
  const ended = (text) => `${text.replace(/[.\s]+$/, "")}.`;
  const upper = (text) => text && text[0].toUpperCase() + text.slice(1);
  const words = { number, rate, span, short };

  // Nodes.
  function put(node, text) { if (node.textContent !== text) node.textContent = text; }
  function make(name, text, attributes = {}) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  const MARKS = { good: "●", waits: "▲", bad: "■", none: "○" };
  const GRADES = ["good", "waits", "bad", "none"];
  function grade(node, which) {
    node.classList.remove(...GRADES);
    node.classList.add(which);
    put(node.querySelector(".mark"), MARKS[which]);
  }

  const sum = (of) => told.status.lanes.reduce((all, lane) => all + of(lane), 0);
  const isFull = (lane) => Boolean(lane.limit && lane.limit.full);

  // The link in words: grade, title, and what it means for what waits.
  function link() {
    const { link, lanes, configuration } = told.status, when = since(link.since_s);
    const blocked = lanes.filter((lane) => lane.hold || isFull(lane));
    const stops = blocked.length === 1 ? `lane ${blocked[0].name} is stopped` : `${blocked.length} lanes are stopped`;
    if (told.stuck) return ["bad", "Stuck"];
    if (!told.accepts) return ["bad", "Takes nothing in"];
    switch (link.state) {
      case "online": return blocked.length ? ["bad", `Online, but ${stops}`] : ["good", `Online since ${when}`];
      case "ramping": return blocked.length ? ["bad", `Online again, but ${stops}`] : ["good", `Online again since ${when}`];
      case "probing": return ["waits", "Trying the link"];
      case "offline": return ["waits", `Offline since ${when}`];
      case "held": return ["bad", `Stopped since ${when}`];
      case "budget": return ["waits", `Today’s bytes are used up since ${when}`];
      case "unconfigured": return [configuration.state === "in force" ? "none" : "bad", "Takes records in; nothing to send them to"];
      default: return ["none", link.state];
    }
  }

  function sentence() {
    const waiting = sum((lane) => lane.waiting), dead = sum((lane) => lane.dead);
    const gone = sum((lane) => lane.expired + lane.dropped + lane.damaged);
    const oldest = Math.max(0, ...told.status.lanes.map((lane) => lane.oldest_age_s || 0));
    const waits = waiting ? `${plural(waiting, "record waits", "records wait")}, the oldest for ${span(oldest)}` : "No record waits";
    const fate = [];
    if (dead) fate.push(`${number(dead)} in the dead letters`);
    if (gone) fate.push(`${number(gone)} given up`);
    if (!fate.length && !told.stuck && told.accepts) fate.push("nothing is lost");
    return `${[waits, fate.join(", ")].filter(Boolean).join("; ")}.`;
  }

  function reason() {
    const { link, drained_in_s, first_send_in_s } = told.status, parts = [];
    if (told.stuck) return upper(ended(told.stuck));
    if (link.reason) parts.push(link.reason);
    if (link.next_attempt_in_s !== null) parts.push(`next attempt in ${span(link.next_attempt_in_s)}`);
    if (first_send_in_s !== null) parts.push(`first send in ${span(first_send_in_s)}`);
    if (drained_in_s > 0) parts.push(`all sent in about ${span(drained_in_s)}`);
    const text = parts.join("; ");
    return text && ended(text);
  }

  // What is wrong: grade, lane or part, words.
  function notes() {
    const { status } = told, all = [];
    if (!told.accepts) all.push(["bad", "The agent stops", "no records are taken in"]);
    if (told.stuck) all.push(["bad", "Stuck", told.stuck]);
    if (status.configuration.state !== "in force") all.push(["bad", "Configuration", status.configuration.state]);
    if (status.link.state === "held") all.push(["bad", "Link stopped", status.link.reason]);
    const keys = status.access_keys;
    if (keys && (keys.fault || (keys.in_use !== null && keys.refused.length))) all.push(["waits", "Access keys", keyWords(keys)]);
    const { newer, folder, beside } = status.format;
    if (newer) all.push(["bad", "Newer format", `${newer.file} has format ${newer.version}: it waits until the newer agent is installed again${folder ? `; records go to ${folder}` : ""}`]);
    for (const other of beside) all.push(["waits", "Another folder", `what was stored in ${other} is not all taken over yet`]);
    for (const lane of [...status.lanes, ...(status.own ? [status.own] : [])]) laneNotes(lane, all);
    if (status.quarantine.segments) all.push(["waits", "Damaged files", `${plural(status.quarantine.segments, "segment")} put aside, ${bytes(status.quarantine.bytes)}`]);
    return all;
  }

  // By their numbers, which say nothing to others.
  function keyWords({ in_use: used, of, refused, expires_in_s: left, fault }) {
    const parts = [`${used === null ? "none" : used} of ${of} in use${left === null ? "" : `, ends in ${span(left)}`}`];
    if (refused.length) parts.push(`refused: ${refused.join(", ")}`);
    if (fault) parts.push(fault);
    return parts.join("; ");
  }

  function laneNotes(lane, all) {
    const name = `Lane ${lane.name}`, add = (how, what, text) => all.push([how, `${name} ${what}`, text]);
    if (lane.hold) add("bad", `held for ${span(lane.hold.since_s)} (${lane.hold.code})`, `${ended(lane.hold.reason)} ${upper(ended(lane.hold.remedy))}`);
    if (isFull(lane)) add("bad", "refuses records", lane.limit.full);
    if (lane.held_keys) add("waits", "", `${plural(lane.held_keys, "order key")} held`);
    if (lane.damaged) add("waits", "", `${plural(lane.damaged, "record")} lost to damaged files`);
    if (lane.degraded && lane.degraded.since_s !== null) add("waits", lane.degraded.paused ? "paused" : "gives way", `${lane.degraded.rule}; ${plural(lane.degraded.dropped, "record")} dropped`);
    if (lane.freshness && lane.freshness.backlog) add("none", "", `${plural(lane.freshness.backlog, "record")} of its backlog wait behind live ones`);
    const budget = told.status.budget && told.status.budget.lanes.find((part) => part.name === lane.name);
    if (lane.waiting && budget && budget.stopped) add("waits", "", `today’s bytes are used, anew in ${span(told.status.budget.resets_in_s)}`);
    if (lane.last_error) add("none", "last error", lane.last_error);
    if (lane.hint) add("none", "", lane.hint);
  }

  function laneState(lane) {
    if (isFull(lane)) return ["bad", "full"];
    if (lane.hold) return ["bad", "held"];
    if (lane.held_keys) return ["waits", "keys held"];
    if (lane.degraded && lane.degraded.paused) return ["waits", "paused"];
    const flows = ["online", "ramping"].includes(told.status.link.state);
    return lane.waiting ? [flows ? "good" : "waits", "waiting"] : ["good", "empty"];
  }

  // Records a second of a lane (or of all) over the last seconds; null while that is not known.
  function flow(of) {
    const [then, now] = [looks[0], looks[looks.length - 1]];
    const seconds = (now.at - then.at) / 1000;
    if (seconds <= 0) return { in: null, out: null };
    const total = (look, which) => look.lanes.filter(of).reduce((all, lane) => all + lane[which], 0);
    const gone = (which) => Math.max(0, total(now, which) - total(then, which)) / seconds;
    return { in: gone("accepted"), out: gone("delivered") };
  }

  function showFigures() {
    const { status } = told, all = flow(() => true), { rates } = status;
    const oldest = status.lanes.map((lane) => lane.oldest_age_s).filter((age) => age !== null);
    const dead = sum((lane) => lane.dead), waiting = sum((lane) => lane.waiting);
    const drained = status.drained_in_s > 0 ? span(status.drained_in_s) : waiting ? "not known yet" : "–";
    const figures = [
      ["Waiting", number(waiting)],
      ["Oldest", oldest.length ? span(Math.max(...oldest)) : "–"],
      ["In a second", rate(all.in === null ? rates.accepted_per_s : all.in)],
      ["Out a second", rate(all.out === null ? rates.delivered_per_s : all.out)],
      ["Drained in", drained],
      ["Dead letters", number(dead)],
    ];
    by("figures").replaceChildren(...figures.map(([name, value]) => {
      const pair = make("div");
      pair.append(make("dt", name), make("dd", value, { class: value.length > 12 && !value.includes(" ") ? "huge" : value.length > 6 ? "long" : undefined }));
      return pair;
    }));
  }

  const COLUMNS = ["Lane", "State", "Waiting", "Oldest", "In/s", "Out/s", "Disk", "Dead", "Given up"];
  function laneRow(lane) {
    const [how, state] = laneState(lane), going = flow((other) => other.name === lane.name);
    const bound = lane.limit && lane.limit.bytes > 0 ? `, ${Math.floor((lane.limit.used * 100) / lane.limit.bytes)} %` : "";
    const shown = (value) => (value === null ? "–" : rate(value));
    const cells = [
      number(lane.waiting), lane.oldest_age_s === null ? "–" : span(lane.oldest_age_s), shown(going.in), shown(going.out),
      `${bytes(lane.disk_bytes)}${bound}`, number(lane.dead), number(lane.expired + lane.dropped + lane.damaged),
    ];
    const row = make("tr", undefined, { role: "row" });
    row.append(make("th", lane.name, { scope: "row", role: "rowheader" }));
    const stands = make("td", undefined, { class: `state-cell ${how}`, role: "cell" });
    stands.append(make("span", MARKS[how], { class: "mark", "aria-hidden": "true" }), ` ${state}`);
    row.append(stands, ...cells.map((text, i) => make("td", text, { class: text.length > 9 && !text.includes("\u00a0") ? "number long" : "number", role: "cell", "data-name": COLUMNS[i + 2] })));
    return row;
  }

  function showLanes() {
    const head = make("thead", undefined, { role: "rowgroup" }), line = make("tr", undefined, { role: "row" });
    line.append(...COLUMNS.map((name, i) => make("th", name, { scope: "col", role: "columnheader", class: i > 1 ? "number" : undefined })));
    head.append(line);
    const body = make("tbody", undefined, { role: "rowgroup" });
    body.append(...told.status.lanes.map(laneRow));
    by("lanes").replaceChildren(head, body);
  }

  function showLetters() {
    const rows = told.letters.map(({ lane, code, count }) => [lane, code, count]);
    for (const { name, dead } of told.status.lanes) {
      const known = told.letters.filter(({ lane }) => lane === name).reduce((all, { count }) => all + count, 0);
      if (dead > known) rows.push([name, "cannot be read here", dead - known]);
    }
    by("no-letters").hidden = rows.length > 0;
    by("letters").hidden = rows.length === 0;
    const head = make("tr");
    head.append(make("th", "Lane", { scope: "col" }), make("th", "Reason", { scope: "col" }), make("th", "Records", { scope: "col", class: "number" }));
    by("letters").replaceChildren(head, ...rows.map(([lane, code, count]) => {
      const row = make("tr");
      row.append(make("th", lane, { scope: "row" }), make("td", code), make("td", number(count), { class: "number" }));
      return row;
    }));
  }

  function showMore() {
    const { status } = told, { budget, pace, clock_offset_s: offset, access_keys: keys } = status;
    const more = [
      ["Gateway", status.gateway], ["Stream", status.stream], ["Version", status.version], ["Running for", span(status.uptime_s)],
      ["Disk", bytes(sum((lane) => lane.disk_bytes))],
    ];
    if (budget) more.push(["On the wire today", `${bytes(budget.bytes_today)}${budget.bytes_per_day === null ? "" : ` of ${bytes(budget.bytes_per_day)}, anew in ${span(budget.resets_in_s)}`}`]);
    if (pace.reason) more.push(["Pace", `up to ${pace.allowed_per_s === null ? bytes(pace.allowed_bytes_per_s) : rate(pace.allowed_per_s)} a second: ${pace.reason}`]);
    if (keys && keys.expires_in_s !== null) more.push(["Access key", keyWords(keys)]);
    if (offset) more.push(["Clock", `${span(Math.abs(offset))} ${offset > 0 ? "behind" : "ahead of"} the server’s`]);
    if (status.control) more.push(["Centre", `${plural(status.control.open, "request")} open${status.control.fault ? `; ${status.control.fault}` : ""}`]);
    by("more").replaceChildren(...more.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
  }

  function showNotes() {
    const all = notes();
    list("attention", "notes", all.filter(([how]) => how !== "none"));
    list("errors", "error-notes", all.filter(([how]) => how === "none"));
  }

  function list(section, place, some) {
    by(section).hidden = some.length === 0;
    by(place).replaceChildren(...some.map(([how, title, text]) => {
      const item = make("li", undefined, { class: how });
      item.append(make("span", MARKS[how], { class: "mark", "aria-hidden": "true" }), " ", make("b", `${title.trim()}:`), ` ${text}`);
      return item;
    }));
  }

  const present = () => ({ at: toldAt, waiting: sum((lane) => lane.waiting), accepted: sum((lane) => lane.accepted), delivered: sum((lane) => lane.delivered), link: told.status.link.state });

  function showPlot() {
    if (by("facts").hidden) return;
    const now = lost ? toldAt : Date.now(), old = points.length ? now - points[0].at : 0;
    const [, chosen] = range !== null ? RANGES[range] : RANGES.find(([, ms]) => old <= ms) || RANGES[2];
    [...by("ranges").children].forEach((button, i) => button.setAttribute("aria-pressed", String(RANGES[i][1] === chosen)));
    const last = points[points.length - 1];
    plot.draw(by("plot"), last && told && last.at < toldAt ? [...points, present()] : points, now, chosen, words);
  }

  // The head: in contact, or since when not. What is shown must not pass for the present.
  function showContact() {
    const late = !lost && told && Date.now() - toldAt > 3 * everyMs + 1000;
    document.body.classList.toggle("old", Boolean(told && (lost || late)));
    if (lost) put(by("contact-text"), `${lost.mute ? "The agent cannot tell" : "Connection to the agent lost"} since ${moment(lost.at, true)}`);
    else if (late) put(by("contact-text"), `No word from the agent since ${moment(toldAt, true)}`);
    else put(by("contact-text"), told ? `Live, ${moment(toldAt, true)}` : "Asking the agent …");
    grade(by("contact"), lost || late ? "bad" : told ? "good" : "none");
    if (told) document.title = `${told.status.gateway}: ${lost || late ? "not known" : link()[1]} – Spillway`;
    return lost || late;
  }

  function showState() {
    const unknown = showContact();
    if (!told) {
      if (lost) { put(by("title-text"), lost.mute ? "The agent cannot tell how it stands" : "The agent does not answer"); put(by("sentence"), lost.why); grade(by("state"), "bad"); }
      return;
    }
    const [how, title] = link();
    put(by("title-text"), unknown ? `Not known since ${moment(toldAt, true)}` : title);
    put(by("sentence"), unknown ? `Last known: ${title}. ${sentence()}` : sentence());
    put(by("reason"), unknown ? (lost ? `${lost.why} Trying again.` : "") : reason());
    grade(by("state"), unknown ? "none" : how);
    const said = [by("contact-text").textContent.replace(/^Live.*/, ""), by("title-text").textContent, by("attention").hidden ? "" : by("notes").textContent.replace(/\d+/g, "")];
    const key = said.join("|");
    if (key !== showState.key) { showState.key = key; put(by("announcement"), said.slice(0, 2).filter(Boolean).join(". ")); }
  }

  function show() {
    by("facts").hidden = false;
    put(by("gateway"), told.status.gateway);
    showNotes();
    showState();
    showFigures();
    showLanes();
    showLetters();
    showMore();
    showPlot();
  }

  // What came.
  function takeHistory(data) {
    const now = Date.now();
    const fresh = data.map(([ago, waiting, accepted, delivered, link]) => ({ at: now - ago, waiting, accepted, delivered, link }));
    const first = fresh.length ? fresh[0].at : now;
    points = [...points.filter((point) => point.at < first), ...fresh];
  }

  function takeState(data) {
    if (data.fault) return fail(data.fault, true);
    lost = null;
    const again = told && told.status.pid !== data.status.pid;
    told = data;
    toldAt = Date.now();
    everyMs = data.every_s * 1000;
    if (again) looks = [];
    looks.push({ at: toldAt, lanes: data.status.lanes });
    while (looks.length > 2 && toldAt - looks[1].at >= RATE_OVER_MS) looks.shift();
    const last = points[points.length - 1];
    if (!last || toldAt - last.at >= FINE_MS * 0.9) {
      points.push(present());
      points = points.filter((point) => toldAt - point.at <= KEPT_MS);
    }
    show();
  }

  function fail(why, mute = false) {
    if (!lost || lost.mute !== mute) lost = { at: Date.now(), mute };
    lost.why = upper(ended(why));
    showState();
    showPlot();
  }

  // The token comes behind the # of the address, which no server sees, and stays with this tab.
  function token() {
    const given = location.hash.match(/^#token=(.+)$/);
    if (given) {
      history.replaceState(null, "", location.pathname);
      sessionStorage.setItem("token", decoded(given[1]));
    }
    return sessionStorage.getItem("token");
  }

  // One that was mangled on its way is sent as it is: the agent refuses it, and it is asked for.
  function decoded(text) {
    try { return decodeURIComponent(text); } catch { return text; }
  }

  function refuse(given) {
    sessionStorage.removeItem("token");
    askToken(given ? "This token is not the gateway’s. Scan the code that spillway admin url prints there, or type the token in." : "");
    return false;
  }

  function askToken(why) {
    by("token").hidden = false;
    by("facts").hidden = true;
    by("state").hidden = true;
    put(by("contact-text"), "Not let in");
    grade(by("contact"), "waits");
    if (why) put(by("token-why"), why);
    by("token-text").focus();
  }

  async function watch() {
    const given = token(), headers = given ? { authorization: `Bearer ${given}` } : {};
    // No header carries it, and none is like that.
    if (/[^ -~]/.test(given || "")) return refuse(given);
    asking = new AbortController();
    heardAt = Date.now();
    const response = await fetch("/events", { headers, cache: "no-store", signal: asking.signal });
    if (response.status === 401) return refuse(given);
    if (!response.ok) throw new Error((await response.text()).trim());
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      heardAt = Date.now();
      if (done) throw new Error("The agent ended it.");
      const events = (text + value).split("\n\n");
      text = events.pop();
      for (const event of events) {
        const [, name, data] = event.match(/^event: (\w+)\ndata: (.*)$/);
        if (name === "history") takeHistory(JSON.parse(data)); else takeState(JSON.parse(data));
        begun = true;
      }
    }
  }

  async function keepWatching() {
    for (let tries = 0; ; tries++) {
      begun = false;
      let why = "";
      try {
        if (!(await watch())) return;
      } catch (error) {
        why = error instanceof TypeError || error.name === "AbortError" ? "The gateway cannot be reached from here." : error.message;
      }
      if (begun) tries = 0;
      fail(why);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]));
    }
  }

  // A new token in the address of a page that is open.
  addEventListener("hashchange", () => { if (location.hash.startsWith("#token=")) location.reload(); });
  by("token").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem("token", by("token-text").value);
    by("token-text").value = "";
    by("token").hidden = true;
    by("state").hidden = false;
    keepWatching();
  });
  by("ranges").append(...RANGES.map(([name], i) => {
    const button = make("button", name, { type: "button", "aria-pressed": "false" });
    button.addEventListener("click", () => { range = i; showPlot(); });
    return button;
  }));
  new ResizeObserver(showPlot).observe(by("plot").parentElement);
  setInterval(() => {
    // A device that left the network is not told so.
    if (asking && Date.now() - heardAt > SILENT_MS) asking.abort();
    showState();
  }, 1000);
  keepWatching();
})();
