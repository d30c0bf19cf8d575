// A key in the path (https://edge/k/KEY) is part of the server URL, and only the browser sees it: balancers strip it.

const shown = document.getElementById("server-url");
const path = withoutTrailingSlash(location.pathname.replace(/\/{2,}/g, "/"));
const basePath = withoutTrailingSlash(new URL(shown.textContent).pathname);
const isBelow = path === basePath || path.startsWith(`${basePath}/`);
shown.textContent += isBelow ? path.slice(basePath.length) : path;

function withoutTrailingSlash(text) {
  return text.replace(/\/$/, "");
}
