import { expect, test } from "vitest";
import { readSettings } from "../../../shared/settings/read-settings.ts";

function read(template: string): string | undefined {
  return readSettings({ role: "worker", env: { CT_MEETING_URL: template } }).meetingUrl;
}

test.each([
  "https://meet.example.com/{room}",
  "https://meet.example.com/ct-{room}#config.startWithAudioMuted=true",
  "https://{room}.meet.example.com/",
  "http://10.0.0.7:8443/room?name={room}&again={room}",
  "https://teams.microsoft.com/l/meetup-join/19%3ameeting_abc%40thread.v2/0",
])("CT_MEETING_URL accepts the link %s", (template) => {
  expect(read(template)).toBe(template);
});

test.each([
  "meet.example.com/{room}",
  "javascript:alert(1)",
  "msteams:/l/meetup-join/{room}",
  "https://meet.example.com/{name}",
  "https://meet.example.com/a b",
  'https://meet.example.com/"><script>',
  "https:///",
  `https://meet.example.com/${"x".repeat(2048)}`,
])("CT_MEETING_URL refuses %s, which is not the link of a meeting", (template) => {
  expect(() => read(template)).toThrow(/is not allowed; it is not an http or https URL/);
});

test("CT_MEETING_URL refuses a password, and the message does not repeat it", () => {
  const refused = () => read("https://ada:canary@meet.example.com/{room}");
  expect(refused).toThrow(/contains a user name or a password/);
  expect(refused).not.toThrow(/canary/);
});
