// Names that tkestack/galaxy put on the wire and that stay as they are. What they mean is in the parsers that use them.

/** The extended resource by which a container asks for a float IP. */
export const addressResource = "tke.cloud.tencent.com/eni-ip";

/** Pod annotation: when the address is released. */
export const policyAnnotation = "k8s.v1.cni.galaxy.io/release-policy";

/** Pod annotation: the pool that the pod's address belongs to. */
export const poolAnnotation = "tke.cloud.tencent.com/eni-ip-pool";

/** Pod annotation: requested ranges in, assigned addresses out. */
export const argsAnnotation = "k8s.v1.cni.galaxy.io/args";

/** Pod annotation: address families the pod wants, for example `IPv4,IPv6`. */
export const familiesAnnotation = "k8s.v1.cni.galaxy.io/ip-families";

/** Annotation of a Deployment's pod template: addresses beside those of its replicas, for rolling updates. */
export const surgeAnnotation = "k8s.v1.cni.galaxy.io/surge-ips";

/** Annotation of pods: how long their address may be reserved without a pod, for example `168h`, or `never`. */
export const reserveTtlAnnotation = "k8s.v1.cni.galaxy.io/reserve-ttl";

/** API group of FloatingIP and Pool. */
export const galaxyGroup = "galaxy.k8s.io";

/** API version of FloatingIP and Pool. */
export const galaxyApiVersion = "galaxy.k8s.io/v1alpha1";

/** Label of a FloatingIP that takes the address out of allocation, whatever its value. */
export const reservedLabel = "reserved";

/** Label of a FloatingIP by which the Go system lists its records: it does not see one without it. */
export const ipTypeLabel = "ipType";

/** The only value of {@link ipTypeLabel}. */
export const ipTypeValue = "internalIP";
