/** The page's content: the screen that the app shows. */
import type { JSX } from "preact";
import type { App } from "./model/app.ts";
import type { SharedSession } from "./model/ide-links.ts";
import { invitationLink } from "./model/place.ts";
import { Ended } from "./screens/ended.tsx";
import { Failed } from "./screens/failed.tsx";
import { Home } from "./screens/home.tsx";
import { SignIn } from "./screens/sign-in.tsx";
import { FolderPermission, OtherTab, Starting, Unsupported } from "./screens/stops.tsx";
import { Waiting } from "./screens/waiting.tsx";
import { Workspace } from "./screens/workspace.tsx";

export function Root({ app }: { app: App }): JSX.Element {
  const screen = app.screen.value;
  const goHome = (): void => app.showHome();
  switch (screen.at) {
    case "starting":
      return <Starting />;
    case "home":
      return <Home app={app} />;
    case "unsupported":
      return <Unsupported screen={screen} secureUrl={secureUrlOf(app)} />;
    case "sign-in": {
      const session = sharedSession(app.edge.serverUrl, screen.roomId);
      return <SignIn screen={screen} session={session} />;
    }
    case "waiting":
      return <Waiting screen={screen} />;
    case "workspace":
      return (
        <Workspace
          // Another session, also of the same room, starts with its own state.
          key={screen.session}
          session={screen.session}
          isForgetful={app.isForgetful.value}
        />
      );
    case "ended":
      return <Ended screen={screen} onHome={goHome} />;
    case "failed":
      return <Failed screen={screen} onHome={goHome} />;
    case "other-tab":
      return <OtherTab screen={screen} />;
    case "folder-permission":
      return <FolderPermission screen={screen} />;
  }
}

/** This page by https, where the operator says it is; else a guess. */
function secureUrlOf({ edge, place }: App): string {
  const { serverUrl } = edge;
  if (!serverUrl.startsWith("https:")) return location.href.replace(/^http:/, "https:");
  return place.roomId === undefined ? serverUrl : invitationLink(serverUrl, place.roomId);
}

function sharedSession(serverUrl: string, roomId: string | undefined): SharedSession | undefined {
  return roomId === undefined
    ? undefined
    : { invitation: invitationLink(serverUrl, roomId), roomId, serverUrl };
}
