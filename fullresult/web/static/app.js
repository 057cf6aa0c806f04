// Live lists, suggestions, copying, selecting. Every page can be read without it.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  // As the browser writes it, so that what did not change is the same.
  const normal = (html) => { const part = document.createElement("template"); part.innerHTML = html; return part.innerHTML; };
  const atFirst = one("#live") ? normal(one("#live").innerHTML) : "";

  // Dates come in UTC. The switch shows them in the reader's own time; those of lists say how long ago, too.
  const KEPT = "fullresult-clock";
  const kept = () => { try { return localStorage.getItem(KEPT); } catch { return null; } };
  let isLocal = kept() === "local";
  const behind = Date.now() - new Date(document.body.dataset.now || NaN);
  const now = () => Date.now() - (behind || 0);
  const two = (number) => String(number).padStart(2, "0");
  const own = (date, utc) => {
    const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
    const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
    return `${day} ${clock}${(/\.\d+/.exec(utc) || [""])[0]}`;
  };
  const ago = (date) => {
    const away = Math.round(Math.abs(now() - date) / 1000), is = (most) => away < most;
    const text = is(60) ? `${away} s` : is(3600) ? `${Math.floor(away / 60)} m` : is(172800) ? `${Math.floor(away / 3600)} h` : `${Math.floor(away / 86400)} d`;
    return now() < date && away ? `in ${text}` : `${text} ago`;
  };
  const times = (root) => all("time", root).forEach((time) => {
    const date = new Date(time.dateTime);
    if (isNaN(date)) return;
    time.dataset.utc ||= time.textContent;
    const utc = time.dataset.utc, local = own(date, utc), shown = isLocal ? local : utc;
    time.title = isLocal ? `${utc} UTC` : `${local} local time`;
    if (time.className !== "day") { time.textContent = shown; return; }
    const exact = document.createElement("small");
    exact.textContent = shown;
    time.replaceChildren(ago(date), " ", exact);
  });
  const clock = () => {
    const box = one("#clock");
    if (!box) return;
    const say = () => { box.textContent = isLocal ? "Local time" : "UTC"; box.setAttribute("aria-label", `Times are in ${isLocal ? "local time" : "UTC"}: change`); };
    box.hidden = false;
    box.addEventListener("click", () => {
      isLocal = !isLocal;
      try { localStorage.setItem(KEPT, isLocal ? "local" : "utc"); } catch { /* for this page only */ }
      say();
      times(document);
    });
    say();
    setInterval(() => { if (!document.hidden) times(document); }, 15000);
  };

  const selecting = (root) => all("input.all", root).forEach((master) => {
    master.hidden = false;
    const boxes = () => all("tbody input[name=key]", master.closest("table"));
    master.addEventListener("change", () => boxes().forEach((box) => { box.checked = master.checked; }));
  });

  const copying = (root) => all("button.copy", root).forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const pre = one("pre", button.parentElement);
      try {
        await navigator.clipboard.writeText(pre.textContent);
      } catch {
        const range = document.createRange();
        range.selectNodeContents(pre);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        document.execCommand("copy");
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  });

  // A form is sent once; one with data-continue goes on by itself.
  const forms = () => all("form[method=post]").forEach((form) => {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "1";
      // Later: a disabled button would not be among what is sent.
      setTimeout(() => all("button", form).forEach((button) => { button.disabled = true; }));
    });
    if ("continue" in form.dataset) form.requestSubmit();
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  const EVERY = 2500;
  const living = () => {
    const live = one("#live[data-live]"), pause = one("#pause"), news = one("#news");
    if (!live || !pause) return;
    const every = 1000 * live.dataset.every || EVERY;
    let paused = false, shown = atFirst, timer = 0;
    const look = async () => {
      if (!paused && !document.hidden) {
        try {
          const answer = await fetch(live.dataset.live, { credentials: "same-origin" });
          if (answer.status === 401 || answer.redirected) {
            news.textContent = "You are no longer logged in. Load the page anew.";
            return;
          }
          if (!answer.ok) throw new Error(answer.status);
          const html = normal(await answer.text());
          if (!paused && html !== shown) replace(html);
          if (news.dataset.away) { news.textContent = ""; delete news.dataset.away; }
        } catch {
          news.textContent = "No answer; trying again.";
          news.dataset.away = "1";
        }
      }
      timer = setTimeout(look, every);
    };
    // [name, element]: after a change each stays as the reader left it.
    const folds = (root) => {
      const seen = new Map();
      return all("details", root).map((each) => {
        const text = one("summary", each).textContent, number = (seen.get(text) || 0) + 1;
        seen.set(text, number);
        return [`${number} ${text}`, each];
      });
    };
    const replace = (html) => {
      const focus = document.activeElement, holds = live.contains(focus);
      const path = holds && (focus.value ? `input[value="${CSS.escape(focus.value)}"]` : `a[href="${CSS.escape(focus.getAttribute("href") || "")}"]`);
      const checked = new Set(all("tbody input:checked", live).map((box) => box.value));
      const known = new Set(all("tbody tr", live).map((row) => row.id));
      const open = new Map(folds(live).map(([name, each]) => [name, each.open]));
      live.innerHTML = html;
      shown = html;
      let fresh = 0;
      all("tbody tr", live).forEach((row) => {
        const box = one("input[name=key]", row);
        if (box && checked.has(box.value)) box.checked = true;
        if (known.size && !known.has(row.id)) { row.classList.add("new"); fresh += 1; }
      });
      folds(live).forEach(([name, each]) => { each.open = open.get(name) ?? each.open; });
      if (fresh) news.textContent = `${fresh} new`;
      if (path) { const again = one(path, live); if (again) again.focus({ preventScroll: true }); }
      times(live);
      selecting(live);
      explaining(live);
      copying(live);
    };
    pause.hidden = false;
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      pause.textContent = paused ? "Go on" : "Pause";
      news.textContent = paused ? "Paused" : "";
      if (!paused) { clearTimeout(timer); look(); }
    });
    timer = setTimeout(look, "atOnce" in live.dataset ? 0 : every);
  };

  // A search that no index answers goes on by itself until a page is full.
  const searching = async () => {
    const live = one("#live"), news = one("#news");
    let box = live && one("#further", live);
    while (box) {
      const begun = one("tbody", live);
      if (begun && begun.rows.length >= 50) return;
      box.setAttribute("aria-busy", "true");
      const part = document.createElement("template");
      try {
        const answer = await fetch(box.dataset.further, { credentials: "same-origin" });
        if (!answer.ok || answer.redirected) return;
        part.innerHTML = await answer.text();
      } catch { return; } finally { box.removeAttribute("aria-busy"); }
      const more = one("table", part.content);
      if (more && begun) begun.append(...one("tbody", more).rows);
      else if (more) { box.before(more); selecting(live); }
      const next = one("#further", part.content) || one(".pager", part.content) || one(".empty", part.content);
      if (next) box.replaceWith(next); else box.remove();
      times(live);
      box = one("#further", live);
      const found = all("tbody tr", live).length;
      if (news) news.textContent = box ? `${found} found so far; looking further back` : `${found} found`;
    }
  };

  const suggesting = () => all("input[data-suggest]").forEach((box) => {
    const list = document.createElement("ul");
    Object.assign(list, { id: "suggestions", className: "options", hidden: true });
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Suggestions");
    box.after(list);
    for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-controls": "suggestions", "aria-expanded": "false" })) box.setAttribute(name, value);
    let asked = 0, timer = 0;
    const word = () => /\S*$/.exec(box.value.slice(0, box.selectionStart))[0];
    const hide = () => { list.hidden = true; box.setAttribute("aria-expanded", "false"); box.removeAttribute("aria-activedescendant"); };
    const take = (option) => {
      const at = box.selectionStart, begun = word(), text = option.dataset.text;
      const more = /[:.]$/.test(text) ? "" : " ";
      const before = box.value.slice(0, at - begun.length) + text + more;
      box.value = before + box.value.slice(at).trimStart();
      box.setSelectionRange(before.length, before.length);
      hide();
      box.focus();
      if (!more) ask();
    };
    const choose = (option) => {
      all("li", list).forEach((each) => each.setAttribute("aria-selected", String(each === option)));
      if (option) box.setAttribute("aria-activedescendant", option.id);
    };
    const ask = async () => {
      const mine = (asked += 1);
      let found = [];
      try {
        const answer = await fetch(`${box.dataset.suggest}?word=${encodeURIComponent(word())}`, { credentials: "same-origin" });
        if (answer.ok && !answer.redirected) found = await answer.json();
      } catch { /* a search can be typed without */ }
      if (mine !== asked || document.activeElement !== box) return;
      list.replaceChildren(...found.map(([text, about], index) => {
        const option = document.createElement("li"), small = document.createElement("small");
        option.id = `suggestion-${index}`;
        option.dataset.text = text;
        option.setAttribute("role", "option");
        option.setAttribute("aria-selected", "false");
        small.textContent = about;
        option.append(text, small);
        option.addEventListener("mousedown", (event) => { event.preventDefault(); take(option); });
        return option;
      }));
      list.hidden = !found.length;
      box.setAttribute("aria-expanded", String(!!found.length));
      box.removeAttribute("aria-activedescendant");
    };
    box.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, 120); });
    box.addEventListener("blur", hide);
    box.addEventListener("keydown", (event) => {
      const options = all("li", list), now = options.findIndex((each) => each.getAttribute("aria-selected") === "true");
      if (list.hidden) { if (event.key === "ArrowDown") { event.preventDefault(); ask(); } return; }
      const to = { ArrowDown: Math.min(now + 1, options.length - 1), ArrowUp: now - 1 }[event.key];
      if (to !== undefined) { event.preventDefault(); choose(options[to]); if (to < 0) box.removeAttribute("aria-activedescendant"); }
      else if (event.key === "Escape") { event.preventDefault(); hide(); }
      else if ((event.key === "Enter" || event.key === "Tab") && now >= 0) { event.preventDefault(); take(options[now]); }
    });
  });

  addEventListener("keydown", (event) => {
    const box = one("#q");
    if (event.key === "/" && box && !/INPUT|TEXTAREA|SELECT/.test(document.activeElement.tagName)) { event.preventDefault(); box.focus(); box.select(); }
  });

  // The answer may take a second, so the page does not wait for it.
  const explaining = (root) => all("[data-why]", root).forEach(async (box) => {
    const link = one("[data-until]", box) || one("p", box);
    try {
      const answer = await fetch(box.dataset.why, { credentials: "same-origin" });
      if (answer.redirected || !(answer.ok || answer.status === 404)) return;
      const part = document.createElement("div");
      part.innerHTML = await answer.text();
      link.replaceWith(part);
      times(part);
    } catch { /* the link is still there */ }
  });

  // What needs somebody stands in red beside its page.
  const counting = async () => {
    const nav = one("[data-counts]");
    if (!nav) return;
    try {
      const answer = await fetch(nav.dataset.counts, { credentials: "same-origin" });
      if (!answer.ok || answer.redirected) return;
      const found = await answer.json();
      all("[data-count]").forEach((link) => {
        all(".alarm", link).forEach((old) => { old.previousSibling.remove(); old.remove(); });
        const number = found[link.dataset.count];
        if (!number) return;
        const alarm = document.createElement("span");
        alarm.className = "alarm";
        alarm.textContent = number;
        link.append(" ", alarm);
      });
    } catch { /* the pages say it, too */ }
  };

  const MINUTE = 60000;
  const keepCounting = () => setInterval(() => { if (!document.hidden) counting(); }, MINUTE);

  // How many are chosen stands on the buttons that act on them.
  const choosing = () => {
    const say = () => all("form[id^=chosen]").forEach((form) => {
      const number = all(`input[name=key][form="${form.id}"]:checked`).length;
      let told = one(".told", form);
      if (!told) { told = document.createElement("span"); told.className = "told dim"; told.setAttribute("role", "status"); form.prepend(told); }
      told.textContent = number ? `${number} selected` : "";
    });
    document.addEventListener("change", (event) => { if (event.target.type === "checkbox") setTimeout(say); });
  };

  times(document);
  clock();
  counting();
  keepCounting();
  choosing();
  selecting(document);
  explaining(document);
  copying(document);
  forms();
  living();
  searching();
  suggesting();
})();
