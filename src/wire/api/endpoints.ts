// All operations of the HTTP API in the order of the documents. What exists in one mode of the program only is added by that mode.

import { getCheck, repair } from "./check.ts";
import type { EndpointShape } from "./endpoint.ts";
import { streamEvents } from "./events.ts";
import { explainPod } from "./explain.ts";
import { getIp, listIps, releaseIps } from "./floating-ip.ts";
import { listHistory } from "./history.ts";
import { importIps } from "./import.ts";
import { deletePool, getPool, listPools, putPool } from "./pool.ts";
import { deleteReservation, putReservation } from "./reservation.ts";
import { getStatus } from "./status.ts";
import { getAddressMap, listSubnets } from "./subnet.ts";
import { listVips } from "./vip.ts";

/** Every operation that the product serves in each mode. */
export const apiEndpoints: readonly EndpointShape[] = [
  listIps,
  releaseIps,
  getPool,
  deletePool,
  putPool,
  getIp,
  listPools,
  putReservation,
  deleteReservation,
  listSubnets,
  getAddressMap,
  explainPod,
  listHistory,
  streamEvents,
  listVips,
  getCheck,
  repair,
  importIps,
  getStatus,
];
