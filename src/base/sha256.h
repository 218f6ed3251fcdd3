/* What the two ways to compress a block of SHA-256 share. */
#ifndef VONK_BASE_SHA256_H
#define VONK_BASE_SHA256_H

#include "base/base.h"

extern const uint32_t vonk_sha256_constants[64]; /* K of FIPS 180-4 */

/* Whether this processor has instructions for it, and the compression by them: n blocks
 * of 64 bytes. */
bool vonk_sha256_has_fast(void);
void vonk_sha256_fast(uint32_t state[8], const uint8_t *blocks, size_t n);

#endif /* VONK_BASE_SHA256_H */
