// Sends the sign-in form that this page was opened for; the token in the address says for whom. Addresses are relative,
// because the page may be served behind a path (/k/KEY/login.html).

const EXPIRED = "This page was opened without a sign-in. Start it again in your editor.";
const UNREACHABLE = "The server did not answer. Check your connection and try again.";
const DONE = "You are signed in. You can close this page and go back to your editor.";

const token = new URLSearchParams(location.search).get("token");
const notice = document.getElementById("notice");
const ways = document.getElementById("ways");
const forms = document.querySelectorAll("form");

for (const form of forms) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void signIn(form);
  });
}
if (!token && forms.length > 0) {
  ways.hidden = true;
  show(EXPIRED, "problem");
} else {
  // Whoever opens this page wants to fill in its form.
  document.querySelector("input")?.focus();
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

/** Resolves with what went wrong, in words for people, or with undefined. */
async function send(form) {
  try {
    const answer = await fetch(form.dataset.endpoint, {
      method: "POST",
      credentials: "omit",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...Object.fromEntries(new FormData(form)), token }),
    });
    if (answer.ok) return undefined;
    return answer.status < 500 ? await answer.text() : UNREACHABLE;
  } catch {
    return UNREACHABLE;
  }
}

/** Text only: what a server says is never markup. */
function show(text, kind) {
  notice.textContent = text;
  notice.classList.toggle("problem", kind === "problem");
  notice.hidden = false;
  notice.focus();
}
