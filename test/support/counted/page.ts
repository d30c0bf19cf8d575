/** The program of a browser's page, bundled by chromium.ts: counted sessions that are called by `countedCall`. */
import { serveCalls } from "./calls.ts";

Object.assign(globalThis, { countedCall: serveCalls() });
