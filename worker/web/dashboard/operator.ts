/** Who is signed in, and what they may do: the rest of the page hides what they may not. */
import type { OperatorResponse } from "../../dashboard/responses.ts";
import { button, byId, element } from "./elements.ts";
import { getJson, postCommand } from "./feed.ts";

/** An operator whose sign-in is over signs in again; a browser with a password is asked for it by itself. */
export async function leaveIfSignedOut(): Promise<void> {
  if (document.body.dataset["signIn"] === undefined) return;
  const response = await fetch("api/operator");
  if (response.status === 401) location.assign("sign-in");
}

export async function showOperator(): Promise<void> {
  const { name, permissions, maySignOut } = await getJson<OperatorResponse>("operator");
  document.body.dataset["permissions"] = permissions.join(" ");
  if (!maySignOut) return;
  document.body.dataset["signIn"] = "";
  const place = byId("operator", HTMLParagraphElement);
  const signOut = button("Sign out", "", () => {
    // The page goes to the sign-in itself.
    delete document.body.dataset["signIn"];
    void postCommand("sign-out").then(() => location.assign("sign-in"));
  });
  place.replaceChildren(element("span", name), signOut);
}
