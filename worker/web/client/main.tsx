/** Starts the page. */
import { render } from "preact";
import { createApp } from "./app/app.ts";
import { findProblem, unsupportedApp } from "./app/unsupported.ts";
import { type EdgeInfo, type Place, readPlace, serverUrlWithKey } from "./model/place.ts";
import { Root } from "./root.tsx";
import { initializeCrypto } from "./session/keys.ts";
import type { TransportNames } from "./session/transport.ts";
import { openDatabase } from "./storage/database.ts";

async function start(parent: HTMLElement): Promise<void> {
  const place = readPlace(location.href);
  const edge = readEdgeInfo(place);
  const problem = findProblem();
  parent.replaceChildren();
  if (problem !== undefined) {
    render(<Root app={unsupportedApp(place, edge, problem)} />, parent);
    return;
  }
  initializeCrypto();
  const database = await openDatabase();
  const transports = transportsOf(new URL(location.href));
  const app = createApp({ place, edge, database, transports });
  app.start();
  render(<Root app={app} />, parent);
}

function readEdgeInfo({ baseUrl }: Place): EdgeInfo {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="ct-edge"]');
  // Written by the server that serves this script.
  const edge = JSON.parse(meta?.content ?? "{}") as EdgeInfo;
  return { ...edge, serverUrl: serverUrlWithKey(edge.serverUrl, baseUrl) };
}

/** `?transport=websocket` or `polling`: for networks in which only one of them works. */
function transportsOf({ searchParams }: URL): TransportNames {
  const wanted = searchParams.get("transport");
  return wanted === "polling" || wanted === "websocket" ? [wanted] : ["polling", "websocket"];
}

const parent = document.getElementById("app");
if (parent !== null) void start(parent);
