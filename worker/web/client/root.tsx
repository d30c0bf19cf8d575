/** The page's content: the screen that the app shows. */
import type { JSX } from "preact";
import type { App } from "./model/app.ts";
import { invitationLink } from "./model/place.ts";
import { Ended } from "./screens/ended.tsx";
import { Failed } from "./screens/failed.tsx";
import { Home } from "./screens/home.tsx";
import { type IdeInvitation, SignIn } from "./screens/sign-in.tsx";
import { FolderPermission, OtherTab, Starting, Unsupported } from "./screens/stops.tsx";
import { Waiting } from "./screens/waiting.tsx";
import { Workspace } from "./screens/workspace.tsx";

/** A session to join, for links that open it in an IDE. */
interface SharedSession {
  readonly invitation: string;
  readonly roomId: string;
  readonly serverUrl: string;
}

/** Without `inviteToIde`, the page to join offers no IDEs. */
export function Root(props: {
  app: App;
  inviteToIde?: (session: SharedSession) => IdeInvitation;
}): JSX.Element {
  const { app, inviteToIde } = props;
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
      const { roomId } = screen;
      const { serverUrl } = app.edge;
      const ide =
        roomId === undefined
          ? undefined
          : inviteToIde?.({ invitation: invitationLink(serverUrl, roomId), roomId, serverUrl });
      return <SignIn screen={screen} ide={ide} onSignOut={() => app.signOut()} />;
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
