/**
 * The meeting of a session: `CT_MEETING_URL` with `{room}` replaced. The name is a hash of the session's key, so that people
 * who see the meeting's name cannot ask to join the session.
 */
export async function meetingUrl(template: string, roomId: string): Promise<string> {
  const bytes = new TextEncoder().encode(`meeting ${roomId}`);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const name = [...digest.subarray(0, 10)].map((byte) => byte.toString(16).padStart(2, "0"));
  return template.replaceAll("{room}", name.join(""));
}
