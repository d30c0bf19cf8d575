/** Starts the page. */
import { render } from "preact";
import { createApp } from "./app/app.ts";
import { findProblem, unsupportedApp } from "./app/unsupported.ts";
import { type EdgeInfo, readPlace } from "./model/place.ts";
import { Root } from "./root.tsx";
import { initializeCrypto } from "./session/keys.ts";
import type { TransportNames } from "./session/transport.ts";
import { openDatabase } from "./storage/database.ts";

async function start(parent: HTMLElement): Promise<void> {
  const place = readPlace(location.href);
  const edge = readEdgeInfo();
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

function readEdgeInfo(): EdgeInfo {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="ct-edge"]');
  // Written by the server that serves this script.
  return JSON.parse(meta?.content ?? "{}") as EdgeInfo;
}

/** `?transport=websocket` or `polling`: for networks in which only one of them works. */
function transportsOf({ searchParams }: URL): TransportNames {
  const wanted = searchParams.get("transport");
  return wanted === "polling" || wanted === "websocket" ? [wanted] : ["polling", "websocket"];
}

const parent = document.getElementById("app");
if (parent !== null) void start(parent);
