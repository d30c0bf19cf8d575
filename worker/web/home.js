// A key in the path (https://edge/k/KEY) is part of the server URL, and only the browser sees it: balancers take it off.

const shown = document.getElementById("server-url");
const path = withoutEnd(location.pathname.replace(/\/{2,}/g, "/"));
const basePath = withoutEnd(new URL(shown.textContent).pathname);
const isBelow = path === basePath || path.startsWith(`${basePath}/`);
shown.textContent += isBelow ? path.slice(basePath.length) : path;

function withoutEnd(text) {
  return text.replace(/\/$/, "");
}
