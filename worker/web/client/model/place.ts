/** Where the page is: the edge's URL, and the session that the page's URL names. Pure. */

export interface Place {
  /** The edge's URL as this page reached it, with its path (`/base`, `/k/KEY`), without a trailing slash. */
  readonly baseUrl: string;
  readonly roomId: string | undefined;
}

/** What the server says about itself in the page's `<meta name="ct-edge">`, as JSON. */
export interface EdgeInfo {
  /**
   * `CT_SERVER_URL`, else the URL by which the page was requested; without a trailing slash. The page adds the key of its own
   * URL, which the server does not see.
   */
  readonly serverUrl: string;
  readonly owner: string;
  readonly offersPlugins: boolean;
  /** Whether hosts see the email that people enter who sign in by name. */
  readonly asksEmail?: boolean;
  /** `CT_MEETING_URL`: `{room}` stands for a name that the people of a session share. */
  readonly meetingTemplate?: string;
}

export type Invitation =
  | { readonly outcome: "here"; readonly roomId: string }
  /** Of another edge: `url` opens it there. */
  | { readonly outcome: "elsewhere"; readonly url: string; readonly host: string }
  | { readonly outcome: "invalid" };

/** The protocol's ids of sessions that this edge makes; other servers' have the same form. */
const ROOM_ID = /^[A-Za-z0-9]{8,64}$/;

/** Reads the page's own URL: `…/join/ROOM`, `…/#ROOM` or `…/?room=ROOM`; `…/` and `…/join` name no session. */
export function readPlace(href: string): Place {
  const url = new URL(href);
  const path = url.pathname.replace(/\/{2,}/g, "/");
  const join = /^(.*?)\/join(?:\/([^/]*))?\/?$/.exec(path);
  const base = join?.[1] ?? path.replace(/\/$/, "");
  const named = [join?.[2], url.hash.slice(1), url.searchParams.get("room")];
  return {
    baseUrl: url.origin + base,
    roomId: named.find((text) => typeof text === "string" && ROOM_ID.test(text)) ?? undefined,
  };
}

/** Reads what a user enters to join: a session's code, or an invitation link of this or another edge. */
export function readInvitation(text: string, baseUrl: string): Invitation {
  const trimmed = text.trim();
  if (ROOM_ID.test(trimmed)) return { outcome: "here", roomId: trimmed };
  const href = /^[a-z][a-z0-9+.-]*:\/\//i.test(trimmed) ? trimmed : `https://${trimmed}`;
  if (!URL.canParse(href)) return { outcome: "invalid" };
  const url = new URL(href);
  if (url.protocol !== "https:" && url.protocol !== "http:") return { outcome: "invalid" };
  const { roomId } = readPlace(href);
  if (roomId === undefined) return { outcome: "invalid" };
  if (url.host === new URL(baseUrl).host) return { outcome: "here", roomId };
  return { outcome: "elsewhere", url: url.href, host: url.host };
}

/** The link that guests open in a browser, and IDEs accept as well. */
export function invitationLink(serverUrl: string, roomId: string): string {
  return `${serverUrl}/#${roomId}`;
}

/**
 * The server URL for IDEs and invitations. A key in the path (`https://edge/k/KEY`) is part of it, and only the page sees the
 * key: balancers strip it.
 */
export function serverUrlWithKey(serverUrl: string, baseUrl: string): string {
  const path = pathOf(baseUrl);
  const serverPath = pathOf(serverUrl);
  const isBelow = path === serverPath || path.startsWith(`${serverPath}/`);
  return serverUrl + (isBelow ? path.slice(serverPath.length) : path);
}

function pathOf(url: string): string {
  return new URL(url).pathname.replace(/\/+$/, "");
}
