/** What the server's policy suggests to this page, and to no other client: hints, which bind nobody. */

/** Whether to open the session read-only. False when the server does not say. */
export async function suggestsReadOnly(baseUrl: string, roomToken: string): Promise<boolean> {
  try {
    const response = await fetch(`${baseUrl}/api/session/hints`, {
      headers: { "x-oct-jwt": roomToken },
      credentials: "omit",
    });
    if (!response.ok) return false;
    const hints: unknown = await response.json();
    return (
      typeof hints === "object" && hints !== null && "readOnly" in hints && hints.readOnly === true
    );
  } catch {
    return false;
  }
}
