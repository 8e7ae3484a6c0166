"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const HEIGHT = 44, SHOWN = 20000;
  const [MODEL, CONTEXT, KIND, OUTCOME, SAMPLE, PROMPT, TEXT, EXTRA] = [0, 1, 2, 3, 4, 5, 6, 7];
  const $ = (id) => document.getElementById(id);
  const list = $("list"), inner = $("inner"), detail = $("detail"), count = $("count"), search = $("search");
  const none = "\u2014 none \u2014";
  const columns = [["model", MODEL, data.models], ["context", CONTEXT, data.contexts], ["kind", KIND, data.kinds],
    ["outcome", OUTCOME, data.outcomes]];
  // Characters that change how the text around them is laid out are shown by number, as are control characters.
  const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;
  const code = (c) => "\u27e8U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "\u27e9";
  const flat = (text) => text.replace(ODD, code).replace(/\s+/g, " ");
  function put(parent, text) {  // text nodes only: nothing a model wrote is ever read as markup
    let last = 0;
    for (const found of text.matchAll(ODD)) {
      parent.append(text.slice(last, found.index));
      const mark = document.createElement("span");
      mark.className = "mark";
      mark.textContent = code(found[0]);
      parent.append(mark);
      last = found.index + found[0].length;
    }
    parent.append(text.slice(last));
  }
  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }
  const rows = data.rows;
  let found = [], chosen = -1;

  for (const [name, column, values] of columns) {
    const counts = new Array(values.length).fill(0);
    for (const row of rows) counts[row[column]]++;
    const order = values.map((_, k) => k).sort((a, b) => values[a] < values[b] ? -1 : 1);
    const select = $(name);
    select.append(new Option("all", ""));
    for (const k of order) select.append(new Option(`${flat(values[k]) || none} (${counts[k].toLocaleString("en")})`, k));
    select.addEventListener("change", filter);
  }
  let waiting = 0;
  search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
  $("clear").addEventListener("click", () => {
    for (const [name] of columns) $(name).value = "";
    search.value = "";
    filter();
    search.focus();
  });

  function filter() {
    const wanted = columns.map(([name, column]) => [column, $(name).value]).filter(([, v]) => v !== "").map(([c, v]) => [c, +v]);
    const words = search.value.toLowerCase();
    const inString = words ? data.strings.map((s) => s.toLowerCase().includes(words)) : [];
    found = [];
    for (let k = 0; k < rows.length; k++) {
      const row = rows[k];
      if (wanted.some(([column, value]) => row[column] !== value)) continue;
      if (words && !row[TEXT].toLowerCase().includes(words) && !row[PROMPT].some(([, s]) => inString[s])) continue;
      found.push(k);
    }
    count.textContent = `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} replies`;
    inner.style.height = found.length * HEIGHT + "px";
    list.scrollTop = 0;
    choose(found.length ? 0 : -1);
    draw();
  }

  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 5);
    const last = Math.min(found.length, Math.ceil((list.scrollTop + list.clientHeight) / HEIGHT) + 5);
    const drawn = [];
    for (let at = first; at < last; at++) {
      const row = rows[found[at]], outcome = data.outcomes[row[OUTCOME]];
      const line = make("div", "row");
      line.id = "row" + at;
      line.setAttribute("role", "option");
      line.setAttribute("aria-selected", String(at === chosen));
      line.setAttribute("aria-setsize", String(found.length));
      line.setAttribute("aria-posinset", String(at + 1));
      line.style.top = at * HEIGHT + "px";
      const where = make("div", "where");
      where.append(make("b", /^(answered|completed)/.test(outcome) ? "" : "off", outcome), " \u00b7 " + data.kinds[row[KIND]] + " \u00b7 ",
        flat(data.contexts[row[CONTEXT]]) || "no context", " \u00b7 " + flat(data.models[row[MODEL]]));
      const said = make("div", "said", flat(row[TEXT].slice(0, 200)) || "(no text)");
      said.dir = "auto";
      line.append(where, said);
      line.addEventListener("click", () => { choose(at); draw(); });
      drawn.push(line);
    }
    inner.replaceChildren(...drawn);
    if (chosen >= 0) list.setAttribute("aria-activedescendant", "row" + chosen); else list.removeAttribute("aria-activedescendant");
  }

  function block(parent, title, text, className) {
    parent.append(make("h3", "", title));
    const pre = make("pre", className);
    pre.dir = "auto";
    put(pre, text.slice(0, SHOWN));
    parent.append(pre);
    if (text.length > SHOWN) {
      const more = make("button", "", `Show all ${text.length.toLocaleString("en")} characters`);
      more.addEventListener("click", () => { pre.replaceChildren(); put(pre, text); more.remove(); });
      parent.append(more);
    }
  }

  function choose(at) {
    chosen = at;
    detail.replaceChildren();
    if (at < 0) { detail.append(make("p", "nothing", rows.length ? "No reply passes these filters." : "This study holds no replies.")); return; }
    const row = rows[found[at]], extra = row[EXTRA];
    const facts = [data.outcomes[row[OUTCOME]], data.kinds[row[KIND]], data.contexts[row[CONTEXT]], data.models[row[MODEL]],
      "repeat " + row[SAMPLE]];
    if (extra.ended) facts.push("ended: " + extra.ended);
    if (extra.temperature) facts.push("temperature " + extra.temperature);
    if (extra.tokens) facts.push(`${extra.tokens[0] ?? "?"} + ${extra.tokens[1] ?? "?"} tokens`);
    detail.append(make("p", "soft", facts.filter(Boolean).map(flat).join(" \u00b7 ")));
    if (extra.p) detail.append(make("p", "soft", "Probabilities: " + Object.entries(extra.p).map(([a, p]) => `${flat(a)} ${p}`).join(", ")
      + (extra.outside === undefined ? "" : `, anything else ${extra.outside}`)));
    if (extra.reason) block(detail, "Why", extra.reason);
    if (extra.thinking) block(detail, "Thinking", extra.thinking);
    block(detail, "Reply, as it came", row[TEXT] || "(no text)", "reply");
    for (const [role, string] of row[PROMPT]) block(detail, "Prompt: " + role, data.strings[string]);
    if (extra.prefill) block(detail, "The reply had to start with", extra.prefill);
  }

  function into(at) {
    const top = at * HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
  }
  list.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
  list.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.clientHeight / HEIGHT) - 1);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Enter") { detail.focus(); event.preventDefault(); return; }
    if (step === undefined || !found.length) return;
    event.preventDefault();
    choose(Math.min(found.length - 1, Math.max(0, chosen + step)));
    into(chosen);
    draw();
  });
  detail.addEventListener("keydown", (event) => { if (event.key === "Escape") list.focus(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) { search.focus(); event.preventDefault(); }
  });
  addEventListener("resize", draw);
  filter();
  document.body.dataset.ready = "yes";
})();
