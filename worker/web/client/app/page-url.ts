/** The page's URL names the session that the page is in, so that a reload returns to it. */
import { invitationLink, readPlace } from "../model/place.ts";

/** Undefined: the page is in no session. A URL that says so already keeps its form (`/join/ROOM`). */
export function setPageUrl(baseUrl: string, roomId: string | undefined): void {
  if (roomInUrl() === roomId) return;
  const url = roomId === undefined ? `${baseUrl}/` : invitationLink(baseUrl, roomId);
  history.pushState(undefined, "", url);
}

export function roomInUrl(): string | undefined {
  return readPlace(location.href).roomId;
}
