/** All subjects, in the order in which they are played. */
import type { Subject } from "./case.ts";
import { aborts } from "./cases/aborts.ts";
import { answers } from "./cases/answers.ts";
import { chunks } from "./cases/chunks.ts";
import { desync } from "./cases/desync.ts";
import { errors } from "./cases/errors.ts";
import { fields } from "./cases/fields.ts";
import { strangers, trustedProxies } from "./cases/forwarding.ts";
import { framing } from "./cases/framing.ts";
import { hopByHop } from "./cases/hop-by-hop.ts";
import { host } from "./cases/host.ts";
import { interim } from "./cases/interim.ts";
import { keys } from "./cases/keys.ts";
import { limits, timeouts } from "./cases/limits.ts";
import { pipelining } from "./cases/pipelining.ts";
import { requestLine } from "./cases/request-line.ts";
import { trailers } from "./cases/trailers.ts";
import { webSocket } from "./cases/upgrade.ts";

export const SUBJECTS: readonly Subject[] = [
  requestLine,
  host,
  fields,
  framing,
  chunks,
  hopByHop,
  strangers,
  trustedProxies,
  keys,
  webSocket,
  answers,
  interim,
  trailers,
  limits,
  timeouts,
  pipelining,
  aborts,
  errors,
  desync,
];
