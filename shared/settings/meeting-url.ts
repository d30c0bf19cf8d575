/** Checks `CT_MEETING_URL`. Pure. */

const MAX_CHARS = 2048;
/** What browsers accept in a URL as it is; `{` and `}` only as the placeholder. */
const CHARACTERS = /^[!#-;=?-[\]_a-z~]*$/;

/**
 * What is wrong with the template of a meeting's link; undefined if it is valid. Only http and https, because a browser
 * follows the link: those of Teams, Zoom and Meet open their programs as well.
 */
export function meetingUrlProblem(template: string): string | undefined {
  const sample = template.replaceAll("{room}", "0a1b2c3d");
  const isUrl = sample.length <= MAX_CHARS && CHARACTERS.test(sample) && URL.canParse(sample);
  const url = isUrl ? new URL(sample) : undefined;
  if (url === undefined || (url.protocol !== "https:" && url.protocol !== "http:")) {
    return "it is not an http or https URL, as https://meet.example.com/{room}";
  }
  if (url.username !== "" || url.password !== "") {
    return "it contains a user name or a password, which everyone who opens the page could read";
  }
  return undefined;
}
