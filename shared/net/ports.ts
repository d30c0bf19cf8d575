/** Ports that settings have by default, which other processes count on. */

/** CT_STATUS_PORT of a balancer. */
export const BALANCER_STATUS_PORT = 1081;

/** CT_STATUS_PORT of a worker is this much above its CT_WORKER_PORT. */
export const STATUS_PORT_DISTANCE = 1000;
