// Where the API server is and how to prove who asks: what credentials.ts finds out and api-client.ts uses. Types only.

/** Settings of the TLS connection, as `node:tls` names them. */
export type TlsSettings = {
  readonly ca?: string | Buffer | undefined;
  readonly cert?: string | Buffer | undefined;
  readonly key?: string | Buffer | undefined;
  readonly servername?: string | undefined;
  readonly rejectUnauthorized?: boolean | undefined;
};

/** Credentials at one moment. The same `tls` object means the same settings, so that connections are kept. */
export type ApiCredentials = {
  readonly tls: TlsSettings;
  /** Value of the Authorization header; undefined when the certificate (or nothing) identifies us. */
  readonly authorization: string | undefined;
};

/** An API server and the credentials for it. */
export type ApiAccess = {
  /** Scheme, host, port and perhaps a path prefix; no trailing slash in the prefix. */
  readonly server: URL;
  /** The credentials to use now; cheap, kept while they are good. Rejects with a WorldError. */
  credentials(): ApiCredentials | Promise<ApiCredentials>;
  /** The server refused the credentials: the next call of {@link credentials} reads them anew. */
  forget(): void;
};
