"use strict";
// Counts, sorts and expands. Without it everything is there: the filters are CSS.
(() => {
  const list = document.getElementById("articles");
  if (!list) return;
  const articles = [...list.querySelectorAll("article")];
  const original = articles.slice();
  const form = document.getElementById("filters");
  const count = document.getElementById("count");
  const tell = () => {
    const shown = articles.filter((one) => getComputedStyle(one).display !== "none").length;
    count.textContent = shown
      ? `${shown.toLocaleString("en")} of ${articles.length.toLocaleString("en")} shown`
      : "None of those shown here is of this kind; others may be counted below.";
  };
  for (const control of document.querySelectorAll(".scripted")) control.hidden = false;
  form?.addEventListener("change", tell);
  form?.addEventListener("reset", () => requestAnimationFrame(tell));
  document.getElementById("sort").addEventListener("change", (event) => {
    const key = event.target.value;
    const ordered = key === "worst" ? original : articles.toSorted(
      (a, b) => a.dataset[key].localeCompare(b.dataset[key], "en", { numeric: true }));
    list.append(...ordered);
  });
  const expand = document.getElementById("expand");
  expand.addEventListener("click", () => {
    const open = expand.getAttribute("aria-pressed") !== "true";
    expand.setAttribute("aria-pressed", String(open));
    for (const part of document.querySelectorAll("details")) part.open = open;
  });
  addEventListener("hashchange", tell);
  tell();
})();
