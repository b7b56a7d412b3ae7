// What the pages do more with a script than without: copy ids, jump to the search, show at once what is chosen, say when
// files are old. htmx swaps what filters ask for into the page.
"use strict";

const copy = async (element, text) => {
  await navigator.clipboard.writeText(text);
  const before = element.title;
  element.title = "✓ " + text;
  setTimeout(() => { element.title = before; }, 1500);
};

const prepare = () => {
  for (const cell of document.querySelectorAll(".matrix td[title], .matrix i[title]")) {
    if (cell.textContent.trim()) cell.dataset.copy = "";
  }
};

if (navigator.clipboard) {
  prepare();
  document.addEventListener("htmx:after:swap", prepare);
  document.addEventListener("click", (event) => {
    const cell = event.target.closest("[data-copy]");
    if (cell) copy(cell, cell.title.replace("✓ ", "").split(" ")[0]);
  });
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

if (window.htmx) {
  document.addEventListener("change", (event) => {
    if (event.target.matches(".filters select")) event.target.form.requestSubmit();
  });
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
