// Runs before anything is drawn, so that the page never flashes in the other colours.
(() => {
  const name = "stepaudio-cas.theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem(name) || "auto";
    } catch {
      return "auto";
    }
  };
  const apply = () => {
    const theme = chosen() === "auto" ? (dark.matches ? "dark" : "light") : chosen();
    document.documentElement.dataset.theme = theme;
  };
  apply();
  dark.addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    select.value = chosen();
    select.addEventListener("change", () => {
      try {
        localStorage.setItem(name, select.value);
      } catch {
        // Without storage it holds for as long as the page does.
      }
      apply();
    });
  });
})();
