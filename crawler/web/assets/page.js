// What the pages do more with a script than without: copy ids, jump to the search, say when files are old.
"use strict";

const copy = async (element, text) => {
  await navigator.clipboard.writeText(text);
  const before = element.title;
  element.title = "✓ " + text;
  setTimeout(() => { element.title = before; }, 1500);
};

if (navigator.clipboard) {
  for (const cell of document.querySelectorAll(".matrix td[title], .matrix td i[title]")) {
    if (!cell.textContent.trim()) continue;
    cell.dataset.copy = "";
    cell.addEventListener("click", () => copy(cell, cell.title.replace("✓ ", "").split(" ")[0]));
  }
  for (const block of document.querySelectorAll("figure pre")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = document.documentElement.lang === "en" ? "Copy" : "复制";
    button.addEventListener("click", async () => {
      await copy(button, block.textContent);
      button.textContent = "✓";
    });
    block.previousElementSibling.append(button);
  }
}

document.addEventListener("keydown", (event) => {
  const search = document.querySelector("input[type=search]");
  if (event.key !== "/" || !search || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea")) return;
  event.preventDefault();
  search.focus();
});

const freshness = document.body.dataset.freshness;
if (freshness && location.protocol !== "file:") {
  fetch(freshness, { cache: "no-store" }).then((answer) => answer.json()).then((known) => {
    const age = (Date.now() - Date.parse(known.published_at)) / 1000;
    if (age > known.stale_after_seconds) document.getElementById("stale").hidden = false;
  }).catch(() => { document.getElementById("stale").hidden = false; });
}
