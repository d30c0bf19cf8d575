/** Metrics of a worker. The links' counters are counted in link-counters.ts. */
import { by, counter, gauge, histogram } from "./metric.ts";

const RESUME_CAUSES = [
  "mine",
  "restarted",
  "handed",
  "lease-expired",
  // One version: the same as `lease-expired` (former-tags.ts).
  "lease-gone",
  "replaced",
  "exited",
  "refused",
] as const;
const CAUSES = ["crash", "move"] as const;

export const WORKER_METRICS = {
  // --- people, sessions and requests ---
  "worker.users.online": gauge("number").meaning(
    "people with an open connection to this worker, each counted once",
  ),
  "worker.sessions.active": gauge("number").meaning(
    "sessions of this worker whose host has connected; while it drains, those still to hand over",
  ),
  "worker.connections.active": gauge("connections").meaning(
    "open connections of people in sessions of this worker",
  ),
  "worker.peers.away": gauge("number").meaning(
    "participants who lost their connection and may still reconnect",
  ),
  "worker.buffer_bytes": gauge("bytes").meaning(
    "pending messages of participants who are away or read slowly",
  ),
  "worker.polls.waiting": gauge("requests").meaning("open long polls of clients"),
  "worker.requests_refused": counter("requests", by("reason")).meaning(
    "refused requests to the HTTP API of the session protocol, by reason",
  ),
  "worker.requests_misdirected": counter("requests").meaning(
    "requests for a session that another worker owns; the response is 421",
  ),
  "worker.credentials_refused": counter("requests").meaning(
    "requests for operators' pages with wrong credentials",
  ),
  "worker.downloads": counter("events", by("ide", ["vscode", "intellij", "eclipse"])).meaning(
    "downloads of plugins and extensions started, by IDE",
  ),
  "worker.logins": counter("events", by("way")).meaning("completed sign-ins, by method"),
  "worker.operator_logins": counter("events", by("role", ["view", "operate", "admin"])).meaning(
    "operators who signed in at an identity provider, by role",
  ),

  // --- the policy (CT_POLICY) ---
  "worker.policy.problem": gauge("number").meaning(
    "1 while the file of CT_POLICY has mistakes, so that the last good policy stays in force",
  ),
  "worker.policy.changes": counter("events").meaning(
    "policies that came in force after the start, because the file of CT_POLICY had changed",
  ),

  // --- sign-ins at identity providers, checked again ---
  "worker.sign_ins.checked": counter(
    "events",
    by("outcome", ["confirmed", "failed", "postponed", "ended"]),
  ).meaning("checks of sign-ins at their identity provider, by outcome"),
  "worker.sign_ins.ended": counter(
    "events",
    by("cause", ["refused", "not allowed", "unconfirmed", "provider", "operator", "signed out"]),
  ).meaning("sign-ins at identity providers that were ended, by cause"),

  // --- sessions, and their moves ---
  "worker.sessions_created": counter("events").meaning("sessions created"),
  "worker.sessions_resumed": counter("events", by("cause", RESUME_CAUSES)).meaning(
    "sessions resumed from the store after a takeover or a restart, by cause",
  ),
  "worker.resume_ms": histogram("ms").meaning(
    "for resumed sessions: from the lookup of the owner until this worker serves the session",
  ),
  // One version: `nobody` is the same as `none` (former-tags.ts).
  "worker.sessions_drained": counter(
    "events",
    by("outcome", ["handed", "kept", "gone", "none", "nobody"]),
  ).meaning("sessions that a drain had to hand over, by outcome"),
  "worker.sessions_closed": counter("events", by("reason")).meaning("sessions closed, by reason"),
  "worker.sessions_reasserted": counter("events").meaning(
    "sessions missing from the store that their worker wrote again",
  ),
  "worker.claims_parked": counter("events").meaning(
    "connections and joins that waited until the owner of their session was clear",
  ),
  "worker.fenced": counter("events").meaning(
    "times that a worker stopped relaying because its lease was not renewed in time",
  ),

  // --- people in sessions, and their messages ---
  "worker.joins": counter("requests", by("result")).meaning("join requests, by result"),
  "worker.connects_refused": counter("connections", by("reason")).meaning(
    "socket connections refused, by reason",
  ),
  "worker.admissions_delayed": counter("connections").meaning(
    "people whose admission to a session was delayed by CT_MAX_ADMISSIONS_PER_SECOND",
  ),
  "worker.messages_relayed": counter(
    "messages",
    by("kind", ["broadcast", "notification", "request", "response", "response-error"]),
  ).meaning("messages received from peers and relayed, by kind"),
  "worker.messages_delivered": counter("messages").meaning("messages delivered to peers"),
  "worker.messages_dropped": counter("messages", by("reason")).meaning(
    "messages dropped, by reason; `no key`: the sender has no key of the receiver",
  ),
  "worker.buffer_overflows": counter("events", by("peer", ["slow", "away"])).meaning(
    "buffers that reached CT_MAX_BUFFER_BYTES, by whether the peer was away or slow to read",
  ),
  "worker.floods_slowed": counter("events").meaning(
    "times that reading from a client was paused because it exceeded CT_MAX_MESSAGES_PER_SECOND",
  ),

  // --- the audit log ---
  "worker.audit.lines": counter("events").meaning("lines written to the audit log"),
  "worker.audit.dropped": counter("events").meaning(
    "events that the audit log does not have, because its disk took none for too long",
  ),
  "worker.audit.syslog_dropped": counter("events").meaning(
    "events that were not sent to CT_AUDIT_SYSLOG, because it took none for too long",
  ),
  "worker.audit.problem": gauge("number").meaning(
    "1 while events cannot be written to the audit log, not be secured by checkpoints for a minute, or not be sent to CT_AUDIT_SYSLOG",
  ),

  // --- links of balancers ---
  "worker.links": gauge("connections").meaning("open links of balancers"),
  "worker.link.streams": gauge("number").meaning("open streams of links"),
  "worker.link.received_frames": counter("frames").meaning("frames received over links"),
  "worker.link.sent_frames": counter("frames").meaning("frames sent over links"),
  "worker.link.received_bytes": counter("bytes").meaning(
    "bytes received over links, with the headers of frames",
  ),
  "worker.link.sent_bytes": counter("bytes").meaning(
    "bytes sent over links, with the headers of frames",
  ),
  "worker.link.stalls": counter("events").meaning(
    "times that a stream had something to send and had to wait, because its receiver read slowly",
  ),
  "worker.link.resets": counter("events").meaning(
    "streams that either side aborted, or that ended with their link",
  ),
  "worker.link.errors": counter("events").meaning("frames that broke the protocol of links"),

  // --- WebSockets that stay open while their session moves to another worker ---
  "worker.resume.websockets": counter("connections", by("cause", CAUSES)).meaning(
    "open WebSockets that this worker went on with, by cause: `move` or `crash`",
  ),
  "worker.resume.refused": counter("connections", by("reason")).meaning(
    "open WebSockets that this worker refused to go on with, by reason; their clients reconnect",
  ),
  "worker.resume.given": counter("connections", by("outcome")).meaning(
    "connections of sessions that were handed over: `open` (the WebSocket stayed open), or why the client has to reconnect",
  ),

  // --- webhooks; all but the outbox are those of the worker that delivers; its successor begins at 0 ---
  "worker.webhooks.delivered": counter("events", by("receiver")).meaning(
    "events that receivers of webhooks have accepted, by receiver",
  ),
  "worker.webhooks.failed": counter("requests", by("cause")).meaning(
    "attempts to deliver an event that failed and are repeated, by cause",
  ),
  "worker.webhooks.lost": counter(
    "events",
    by("cause", ["store away", "store full", "store refused", "receiver away", "unreadable"]),
  ).meaning(
    "events that receivers do not get, by cause: the store was away or full for too long, refused them, or the receiver was away; receivers are told",
  ),
  "worker.webhooks.refused": counter("requests").meaning(
    "attempts to store events that the store refused, which the log explains; they are repeated, and sessions go on",
  ),
  "worker.webhooks.pending": gauge("events").meaning(
    "events of this worker that are not in the store yet",
  ),
  "worker.webhooks.backlog": gauge("events", by("receiver")).meaning(
    "events in the store that a receiver does not have yet, by receiver",
  ),
  "worker.webhooks.oldest_ms": gauge("ms", by("receiver")).meaning(
    "age of the oldest event that a receiver does not have yet, by receiver; 0 without one",
  ),
};
