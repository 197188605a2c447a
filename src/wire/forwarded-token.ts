// How a token reaches galaxy-ipam through the service proxy of an API server. Not the established headers of the API.

/**
 * Read where there is no `Authorization`: the API server removes that header from every request that it has authenticated before it passes
 * the request on to a service (kube-apiserver, WithAuthentication), and passes this one on.
 */
export const forwardedTokenHeader = "x-galaxy-authorization";
