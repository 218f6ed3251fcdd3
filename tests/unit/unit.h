/* What every unit test includes. */
#ifndef VONK_TESTS_UNIT_H
#define VONK_TESTS_UNIT_H

/* cmocka.h needs what stands before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
/* clang-format on */

#endif /* VONK_TESTS_UNIT_H */
