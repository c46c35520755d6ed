for (const root of document.querySelectorAll(".frz:not([data-ready])")) {
  root.dataset.ready = "";
  const tree = root.querySelector(".tree");
  const search = root.querySelector("input");
  const told = root.querySelector("output");
  const keys = [...root.querySelectorAll(".key button")];
  const items = [...tree.querySelectorAll("li[data-p]")];
  const words = items.map((item) => `${item.dataset.p} ${item.querySelector(".name").textContent}`.toLowerCase());
  const first = new Map([...tree.querySelectorAll("details")].map((details) => [details, details.open]));
  root.querySelector(".tools").hidden = false;

  const filter = () => {
    const asked = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const states = keys.filter((key) => key.ariaPressed === "true").map((key) => key.dataset.s);
    const active = asked.length > 0 || states.length > 0;
    const kept = new Set();
    let count = 0;
    items.forEach((item, index) => {
      const named = asked.every((word) => words[index].includes(word));
      const inState = !states.length || states.some((state) => item.dataset.s.includes(state));
      if (!active || !named || !inState || (!asked.length && item.querySelector("li"))) return;
      count += 1;
      for (let at = item; at && at !== tree; at = at.parentElement.closest("li")) kept.add(at);
    });
    for (const item of tree.querySelectorAll("li")) item.hidden = active && !kept.has(item);
    for (const [details, open] of first) {
      details.open = active ? count <= 200 && kept.has(details.parentElement) && !!details.querySelector("li:not([hidden])") : open;
    }
    told.textContent = active ? `${count} ${count === 1 ? "row" : "rows"}` : "";
  };

  const reveal = (element) => {
    for (let at = element.parentElement; at && at !== root; at = at.parentElement) {
      if (at.tagName === "DETAILS") at.open = true;
    }
    const target = element.querySelector("summary, .leaf") || element;
    target.focus({ preventScroll: true });
    target.scrollIntoView({ block: "center" });
  };

  search.addEventListener("input", filter);
  for (const key of keys) {
    key.addEventListener("click", () => {
      key.ariaPressed = String(key.ariaPressed !== "true");
      filter();
    });
  }
  root.addEventListener("click", (event) => {
    const link = event.target.closest("a.cut, a.to");
    const button = event.target.closest("[data-do]");
    if (link) {
      event.preventDefault();
      const target = link.matches(".cut")
        ? root.querySelector(link.getAttribute("href"))
        : items.find((item) => item.dataset.p === link.dataset.to);
      if (target) reveal(target);
    } else if (button) {
      for (const details of first.keys()) details.open = button.dataset.do === "open";
    }
  });
  tree.addEventListener("keydown", (event) => {
    const row = event.target.closest("summary, .leaf");
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
    const details = row.parentElement.closest("details");
    const own = row.tagName === "SUMMARY" ? details : null;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const rows = [...tree.querySelectorAll("summary, .leaf")].filter((one) => one.checkVisibility());
      rows[rows.indexOf(row) + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
    } else if (event.key === "ArrowRight" && own) {
      own.open = true;
    } else if (event.key === "ArrowLeft") {
      if (own?.open) own.open = false;
      else (own ?? row).parentElement.closest("details")?.querySelector("summary")?.focus();
    } else return;
    event.preventDefault();
  });
}
