// The button that chooses light, dark, or what the system has; remembered by the browser.

const THEMES = ["system", "light", "dark"];
const button = document.getElementById("theme");

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  button.textContent = `Theme: ${name}`;
  try {
    localStorage.setItem("theme", name);
  } catch {
    // a browser that keeps nothing shows the system's theme next time
  }
}

function rememberedTheme() {
  try {
    return localStorage.getItem("theme") ?? "system";
  } catch {
    return "system";
  }
}

button.addEventListener("click", () => {
  const now = document.documentElement.dataset.theme;
  setTheme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
});
setTheme(THEMES.includes(rememberedTheme()) ? rememberedTheme() : "system");
