// Submits the sign-in form for the sign-in whose token is in the page's URL. URLs are relative, because the page may be served
// below a path (/k/KEY/login.html).

const EXPIRED = "This link belongs to no sign-in. Start the sign-in again in your editor.";
const UNREACHABLE = "The server did not respond. Check your connection and try again.";
const DONE = "You are signed in. You can close this page and go back to your editor.";

const token = new URLSearchParams(location.search).get("token");
const notice = document.getElementById("notice");
const ways = document.getElementById("ways");
const forms = document.querySelectorAll("form");
const providers = document.querySelectorAll("a[data-endpoint]");

for (const link of providers) {
  link.href = `${link.dataset.endpoint}?token=${encodeURIComponent(token ?? "")}`;
}

for (const form of forms) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void signIn(form);
  });
}
if (!token && forms.length + providers.length > 0) {
  ways.hidden = true;
  show(EXPIRED, "problem");
} else {
  document.querySelector("a[data-endpoint], input")?.focus();
}

async function signIn(form) {
  const button = form.querySelector("button");
  button.disabled = true;
  const failure = await send(form);
  button.disabled = false;
  if (failure !== undefined) {
    show(failure, "problem");
    return;
  }
  ways.hidden = true;
  show(DONE, "done");
}

/** Resolves with undefined, or with the error message to show. */
async function send(form) {
  try {
    const response = await fetch(form.dataset.endpoint, {
      method: "POST",
      credentials: "omit",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...Object.fromEntries(new FormData(form)), token }),
    });
    if (response.ok) return undefined;
    return response.status < 500 ? await response.text() : UNREACHABLE;
  } catch {
    return UNREACHABLE;
  }
}

/** Shows text only: a server's message is never markup. */
function show(text, kind) {
  notice.textContent = text;
  notice.classList.toggle("problem", kind === "problem");
  notice.hidden = false;
  notice.focus();
}
