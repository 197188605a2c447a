// A pod's program: answers on UDP and TCP with the pod's name and the client that it saw. Usage: echo.ts NAME PORT [ADDRESS], on every
// address unless one is named. Not part of the product.

import { createSocket } from "node:dgram";
import { createServer } from "node:net";

const [name = "", portText = "", host = "::"] = process.argv.slice(2);
const port = Number(portText);

const udp = createSocket({ type: host.includes(":") ? "udp6" : "udp4", ipv6Only: false });
udp.on("message", (data, from) => {
  const source = from.address.replace(/^::ffff:/, "");
  udp.send(`${name} ${source} ${data.toString("latin1")}`, from.port, from.address, () => {});
});
udp.bind(port, host);

createServer((client) => {
  const source = (client.remoteAddress ?? "").replace(/^::ffff:/, "");
  client.on("error", () => client.destroy());
  client.write(`${name} ${source}\n`);
  client.on("data", (data) => client.write(data));
}).listen(port, host);
