// Certificates for tests, of an authority that exists nowhere else: for localhost and 127.0.0.1, valid for a hundred years.

/** A certificate with its key, in PEM. */
type Pair = { readonly cert: string; readonly key: string };

/**
 * - `authority`: has signed all but the stranger's
 * - `server`, `other`: two pairs for the same names, as before and after a renewal
 * - `stranger`: signed by itself
 */
export const testCertificates: {
  readonly authority: string;
  readonly server: Pair;
  readonly other: Pair;
  readonly client: Pair;
  readonly stranger: Pair;
} = {
  authority: [
    "-----BEGIN CERTIFICATE-----",
    "MIIBiDCCAS+gAwIBAgIUBaa1ILJ2tdTze0lWRx6k91vjVHIwCgYIKoZIzj0EAwIw",
    "GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIxMDYxNzMwWhgPMjEy",
    "NjEwMjgwNjE3MzBaMBkxFzAVBgNVBAMMDnRlc3QgYXV0aG9yaXR5MFkwEwYHKoZI",
    "zj0CAQYIKoZIzj0DAQcDQgAEEYgJH+EbYwlnltLwlYV3eq+gn6ujSYkA0UEPxY7C",
    "681IaZFY9LzVwQhvp616m8QH0LkypfHVFR+2gvJzSDmvYqNTMFEwHQYDVR0OBBYE",
    "FBTPS9W7S3M8ccAtPwKkXnbv+uU+MB8GA1UdIwQYMBaAFBTPS9W7S3M8ccAtPwKk",
    "Xnbv+uU+MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgUiC5EqPt",
    "LoZY3Dp7nZbM+s0Xdjpnyep+8knmB2PwhikCIFVbW+6Lak4n7LkGvhu+G73FtLqA",
    "aMdLzFFUZz3O0NoN",
    "-----END CERTIFICATE-----",
  ].join("\n"),
  server: {
    cert: [
      "-----BEGIN CERTIFICATE-----",
      "MIIBizCCATKgAwIBAgIUdBoHIXbw7Vdi5csNiUwwiPtKg6QwCgYIKoZIzj0EAwIw",
      "GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIxMDYxNzMxWhgPMjEy",
      "NjEwMjgwNjE3MzFaMBExDzANBgNVBAMMBnNlcnZlcjBZMBMGByqGSM49AgEGCCqG",
      "SM49AwEHA0IABFhMTvLX/zpdChHFxvgtqQwrWe9rLY2zyMuLynS+Ir6yS41B/2UW",
      "H3s2nufypMqkfhmAu+pNULgzny+MtW7jMo2jXjBcMBoGA1UdEQQTMBGCCWxvY2Fs",
      "aG9zdIcEfwAAATAdBgNVHQ4EFgQUQ4dAbHkmKPKmACriKAB8EuO1l8gwHwYDVR0j",
      "BBgwFoAUFM9L1btLczxxwC0/AqRedu/65T4wCgYIKoZIzj0EAwIDRwAwRAIgabNt",
      "4P79FU4dcEUKrlfQlNrz5Y4JCZ4ENwHjRnEtq+4CIGfHDMSmpzciLaZrP08KAF7l",
      "KXNNrdmiXJIc9AAh7ebx",
      "-----END CERTIFICATE-----",
    ].join("\n"),
    key: [
      "-----BEGIN PRIVATE KEY-----",
      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgXDftelxNNd8fLVCq",
      "JfFNaSQmHWE+es4xco9LuyoKNiGhRANCAARYTE7y1/86XQoRxcb4LakMK1nvay2N",
      "s8jLi8p0viK+skuNQf9lFh97Np7n8qTKpH4ZgLvqTVC4M58vjLVu4zKN",
      "-----END PRIVATE KEY-----",
    ].join("\n"),
  },
  other: {
    cert: [
      "-----BEGIN CERTIFICATE-----",
      "MIIBizCCATGgAwIBAgIUdBoHIXbw7Vdi5csNiUwwiPtKg6UwCgYIKoZIzj0EAwIw",
      "GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIxMDYxNzMxWhgPMjEy",
      "NjEwMjgwNjE3MzFaMBAxDjAMBgNVBAMMBW90aGVyMFkwEwYHKoZIzj0CAQYIKoZI",
      "zj0DAQcDQgAEUdGH7fOaaZ8OJYNo9YTDjqUrgyWdZk+NRqabDBwuUVqPIAhdiw0I",
      "AHXvksbnNzKlBPmeaL9zb045Uf+s0WDUXaNeMFwwGgYDVR0RBBMwEYIJbG9jYWxo",
      "b3N0hwR/AAABMB0GA1UdDgQWBBQ3nyR06xLfuCndh77A2Ncjg7LftTAfBgNVHSME",
      "GDAWgBQUz0vVu0tzPHHALT8CpF527/rlPjAKBggqhkjOPQQDAgNIADBFAiEAlo9k",
      "WGO6KVvptFeBdbmQwBWA/j6BktWwcG+b8jDGW5YCIDe8xgTHRJmpjNF1iQVA8bu7",
      "QmNSkCB1adMuhWnHQQE+",
      "-----END CERTIFICATE-----",
    ].join("\n"),
    key: [
      "-----BEGIN PRIVATE KEY-----",
      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgSCL1p7fOg4W/NV1+",
      "OQqcHCIWc7TfGFymiEo3nik4S0ahRANCAARR0Yft85ppnw4lg2j1hMOOpSuDJZ1m",
      "T41GppsMHC5RWo8gCF2LDQgAde+Sxuc3MqUE+Z5ov3NvTjlR/6zRYNRd",
      "-----END PRIVATE KEY-----",
    ].join("\n"),
  },
  client: {
    cert: [
      "-----BEGIN CERTIFICATE-----",
      "MIIBjDCCATKgAwIBAgIUdBoHIXbw7Vdi5csNiUwwiPtKg6YwCgYIKoZIzj0EAwIw",
      "GTEXMBUGA1UEAwwOdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIxMDYxNzMxWhgPMjEy",
      "NjEwMjgwNjE3MzFaMBExDzANBgNVBAMMBmNsaWVudDBZMBMGByqGSM49AgEGCCqG",
      "SM49AwEHA0IABC3pzQU6ghJxcNE4Pts8SzvUoW5zF5oobfNobzAsuJgeU8NLzaMj",
      "ohKdm6ZeQMbGFifmL6vx+RP8rT3rdmwJWz2jXjBcMBoGA1UdEQQTMBGCCWxvY2Fs",
      "aG9zdIcEfwAAATAdBgNVHQ4EFgQUhMEZ1AC66zegLkfOGI23WTl4xC0wHwYDVR0j",
      "BBgwFoAUFM9L1btLczxxwC0/AqRedu/65T4wCgYIKoZIzj0EAwIDSAAwRQIhALAr",
      "/CvM+JeuOFHO9SPbTgUy0v7t4vAgCW2tipObpXZoAiBJcJJnQcZcAipQ5Dxmmtg9",
      "753wKCBSQujNSmyeOL4o8g==",
      "-----END CERTIFICATE-----",
    ].join("\n"),
    key: [
      "-----BEGIN PRIVATE KEY-----",
      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgH2Q8XtD5lNUbzHAf",
      "xun6qxagXigBWMtzIYsOx32lJ4+hRANCAAQt6c0FOoIScXDROD7bPEs71KFucxea",
      "KG3zaG8wLLiYHlPDS82jI6ISnZumXkDGxhYn5i+r8fkT/K0963ZsCVs9",
      "-----END PRIVATE KEY-----",
    ].join("\n"),
  },
  stranger: {
    cert: [
      "-----BEGIN CERTIFICATE-----",
      "MIIBfTCCASOgAwIBAgIUeWO1lwX0mlxm2631CwQFH9LirMIwCgYIKoZIzj0EAwIw",
      "EzERMA8GA1UEAwwIc3RyYW5nZXIwIBcNMjYxMTIxMDYxNzMxWhgPMjEyNjEwMjgw",
      "NjE3MzFaMBMxETAPBgNVBAMMCHN0cmFuZ2VyMFkwEwYHKoZIzj0CAQYIKoZIzj0D",
      "AQcDQgAEHl3Nlspee+uXHNLoP3YpZoj1IKrN56wGqAi5ee8ruaGOBYrtes2kcVud",
      "bWF3ZVB09NQQ/wj2qbDsXTPaS9zQiqNTMFEwHQYDVR0OBBYEFNGO0Jh70hMlARu2",
      "1lhX7/h1sx8mMB8GA1UdIwQYMBaAFNGO0Jh70hMlARu21lhX7/h1sx8mMA8GA1Ud",
      "EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAOI4nR0qLfc9RFp1iXnqyR3o",
      "kmDObQzVx04aehLi9jYdAiAQCnV1SsxFaV5CFStrg9vKCIovE71tbsdM8zOxb8Wq",
      "lQ==",
      "-----END CERTIFICATE-----",
    ].join("\n"),
    key: [
      "-----BEGIN PRIVATE KEY-----",
      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg18uE0t1yidL/DQh6",
      "XyWiuZCqzLTCvjac7Jtn9qQP8aihRANCAAQeXc2Wyl5765cc0ug/dilmiPUgqs3n",
      "rAaoCLl57yu5oY4Fiu16zaRxW51tYXdlUHT01BD/CPapsOxdM9pL3NCK",
      "-----END PRIVATE KEY-----",
    ].join("\n"),
  },
};

/**
 * Certificates of users of the API, by an authority of their own.
 * - `alice`: of the groups lookers and writers
 * - `former`: alice's, which ran out on 2021-01-01
 */
export const userCertificates: {
  readonly authority: string;
  readonly alice: Pair;
  readonly former: Pair;
} = {
  authority: [
    "-----BEGIN CERTIFICATE-----",
    "MIIBNjCB3aADAgECAhR8txDvCVF0N6L6fx+E1e/Htn2BGTAKBggqhkjOPQQDAjAQ",
    "MQ4wDAYDVQQDDAV1c2VyczAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAw",
    "MFowEDEOMAwGA1UEAwwFdXNlcnMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQE",
    "hj5kG6W84GZ8NCBnaAusDPu+bZyaB20E6s3KdqBE3+THiW+ye6sFCSD0zF3tuiSb",
    "j+yFm/NHCMoU4XBGLGuEoxMwETAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMC",
    "A0gAMEUCIQC7XquoDY+GMUSzZBY7AoAGaG/HGMA52Cyic8ukTLRXWwIgVgP1Q1AA",
    "L1o62ka1mzNgpxbbqczi56J/hFDzsW99bl4=",
    "-----END CERTIFICATE-----",
  ].join("\n"),
  alice: {
    cert: [
      "-----BEGIN CERTIFICATE-----",
      "MIIBbTCCAROgAwIBAgIUBGaHT6ADU+UM/v/hVyZZtZzHpQ8wCgYIKoZIzj0EAwIw",
      "EDEOMAwGA1UEAwwFdXNlcnMwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAw",
      "MDBaMDQxEDAOBgNVBAoMB2xvb2tlcnMxEDAOBgNVBAoMB3dyaXRlcnMxDjAMBgNV",
      "BAMMBWFsaWNlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZlIH0PgiOTmkPIJn",
      "GceCL5kVSvPAKgodTmz5tFB0wjGnbRqX1aB1yuyhnYdqH8i2MoBAzSpgwkygNxaW",
      "xmegxaMlMCMwDAYDVR0TAQH/BAIwADATBgNVHSUEDDAKBggrBgEFBQcDAjAKBggq",
      "hkjOPQQDAgNIADBFAiEAkmyjSD6VMRzszTM/D/6w/x6PGNkNhz5rFYVOE6GqQPgC",
      "IGCqbVAU+kOnS1UO6hgnPzx89JYrIduKHvckl0OugT8Q",
      "-----END CERTIFICATE-----",
    ].join("\n"),
    key: [
      "-----BEGIN PRIVATE KEY-----",
      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgFen3jxSTGRXHSb5k",
      "sJhqTOa60LhYnXN2GLinngAeLv2hRANCAARmUgfQ+CI5OaQ8gmcZx4IvmRVK88Aq",
      "Ch1ObPm0UHTCMadtGpfVoHXK7KGdh2ofyLYygEDNKmDCTKA3FpbGZ6DF",
      "-----END PRIVATE KEY-----",
    ].join("\n"),
  },
  former: {
    cert: [
      "-----BEGIN CERTIFICATE-----",
      "MIIBVzCB/6ADAgECAhRxBtGPNgMJ8wJ6GZejdWBppp7KjTAKBggqhkjOPQQDAjAQ",
      "MQ4wDAYDVQQDDAV1c2VyczAeFw0yMDAxMDEwMDAwMDBaFw0yMTAxMDEwMDAwMDBa",
      "MCIxEDAOBgNVBAoMB2xvb2tlcnMxDjAMBgNVBAMMBWFsaWNlMFkwEwYHKoZIzj0C",
      "AQYIKoZIzj0DAQcDQgAEje7IMYpt9A6cC4NbwcYocBU3qGaySL3h3jL2Ej97CCRB",
      "2WsSn5iANFcJt4+S25Jx1ANHa+4HNADL5xMAkK4jyKMlMCMwDAYDVR0TAQH/BAIw",
      "ADATBgNVHSUEDDAKBggrBgEFBQcDAjAKBggqhkjOPQQDAgNHADBEAiBMg/z6+H7e",
      "YfwCHrP6oBqAVuKkdsibORBySL55f4vDKwIgPQboHvoodD8RUq6ZdhslZ3Gpgns5",
      "2umH/5M7cWnro7Y=",
      "-----END CERTIFICATE-----",
    ].join("\n"),
    key: [
      "-----BEGIN PRIVATE KEY-----",
      "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxp4S1r8H9mVWL40p",
      "GEfD4UmuNcBaEQgsZWGLf4r9C5OhRANCAASN7sgxim30DpwLg1vBxihwFTeoZrJI",
      "veHeMvYSP3sIJEHZaxKfmIA0Vwm3j5LbknHUA0dr7gc0AMvnEwCQriPI",
      "-----END PRIVATE KEY-----",
    ].join("\n"),
  },
};
