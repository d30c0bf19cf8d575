/** Small line icons, drawn on a grid of 16. They are decoration: the control that holds one has a name of its own. */
import type { JSX } from "preact";

const PATHS = {
  check: "M3 8.5l3.25 3.25L13 4.75",
  "chevron-down": "M3.5 6L8 10.5 12.5 6",
  "chevron-right": "M6 3.5L10.5 8 6 12.5",
  chat: "M2 2.75h12v8.5H7.5L4.5 14v-2.75H2z",
  close: "M4 4l8 8M12 4l-8 8",
  code: "M5.5 4.5L2 8l3.5 3.5M10.5 4.5L14 8l-3.5 3.5",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  delete: "M2.5 4.25h11M6 4.25v-2h4v2M4 4.25l.75 9.5h6.5l.75-9.5",
  download: "M8 2.25v8M4.75 7.25L8 10.5l3.25-3.25M2.75 13.5h10.5",
  enter: "M8.5 2.5h5v11h-5M2 8h7.5M6.75 5.25L9.5 8l-2.75 2.75",
  eye: "M1.5 8S4 3.75 8 3.75 14.5 8 14.5 8 12 12.25 8 12.25 1.5 8 1.5 8zM8 9.75a1.75 1.75 0 1 0 0-3.5 1.75 1.75 0 0 0 0 3.5z",
  file: "M3.75 1.75h5.5l3 3v9.5h-8.5zM9 1.75V5h3.25",
  files: "M2.5 4h11M2.5 8h11M2.5 12h7",
  folder: "M1.75 12.5v-9h4l1.5 1.75h7v7.25z",
  "folder-open": "M1.75 12.5v-9h4l1.5 1.75h5.5v2M1.75 12.5l2-5.25h11l-2 5.25z",
  invite:
    "M6.5 7.25a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM2 13.5c0-2.5 1.8-4.25 4.5-4.25 1.2 0 2.2.35 3 .95M12.5 9.5V14M10.25 11.75h4.5",
  leave: "M9.5 2.5h-6v11h6M7 8h7M11.25 5.25L14 8l-2.75 2.75",
  link: "M6.5 9.5l3-3M7 4.5l1.2-1.2a3 3 0 0 1 4.5 4.5L11.5 9M9 11.5l-1.2 1.2a3 3 0 0 1-4.5-4.5L4.5 7",
  lock: "M3.5 7.25h9v6.5h-9zM5.5 7.25V5a2.5 2.5 0 0 1 5 0v2.25",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  "new-file": "M8.5 14.25H3.75V1.75h5.5l3 3V8M12 10.5v4M10 12.5h4",
  "new-folder": "M8.5 12.5H1.75v-9h4l1.5 1.75h7V8.5M12.5 10v4.5M10.25 12.25h4.5",
  people:
    "M6 7.25a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM1.5 13.5c0-2.5 1.8-4.25 4.5-4.25s4.5 1.75 4.5 4.25M10.5 2.6a2.5 2.5 0 0 1 0 4.3M12 9.6c1.6.6 2.5 2 2.5 3.9",
  refresh: "M13.25 8a5.25 5.25 0 1 1-1.6-3.8l1.6 1.55M13.25 2.5v3.25H10",
  rename: "M2.5 13.5l.75-3 7.5-7.75 2.25 2.25-7.5 7.75zM9.25 4.25l2.25 2.25",
  send: "M2 8l12-5.5L10 14 7.5 9zM7.5 9L14 2.5",
  start: "M4.5 2.75L12.5 8l-8 5.25z",
  video: "M1.75 4.25h8.5v7.5h-8.5zM10.25 7l4-2.25v6.5l-4-2.25",
  warning: "M8 2.25l6.25 11.25H1.75zM8 6.5v3M8 11.5h.01",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The mark of the product, as in login.svg. */
export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <rect width="16" height="16" rx="4" />
      <circle cx="5.5" cy="8" r="2.5" />
      <circle class="second" cx="10.5" cy="8" r="2.5" />
    </svg>
  );
}
