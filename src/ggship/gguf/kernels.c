/* The inner loops of a merge, for machines that have a C compiler when ggship is installed (scripts/build-kernels).
 *
 * Each has a twin in Python or in libgguf that gives the same bytes; tests/gguf/test_compiled.py holds them together.
 * Where ggml goes weight by weight, eight blocks lie side by side here, one in each lane of a vector: every lane does
 * the sums of its block in ggml's order, so that no bit differs. For that the file must be compiled without
 * contraction of a * b + c (-ffp-contract=off) and without any fast math.
 *
 * The formats and what ggml searches for in them: ggml-quants.c of llama.cpp (quantize_row_q4_K_ref, ..q5_K_ref,
 * ..q6_K_ref, ..q8_0_ref, make_qkx2_quants, make_qx_quants).
 */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

/* One machine code for any x86-64 processor and one for those with AVX2, chosen when the library is loaded. */
#ifndef CLONES
#if defined(__x86_64__) && defined(__gnu_linux__)
#define CLONES __attribute__((target_clones("avx2", "default")))
#else
#define CLONES
#endif
#endif

#define LANES 8
#define SUPER 256 /* weights of a super-block of the K-quants */

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef double doubles __attribute__((vector_size(32)));
typedef float loose_floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* anywhere in memory */

/* ---- one number, or eight ---- */

INLINE floats all(float value) { return (floats){value, value, value, value, value, value, value, value}; }
INLINE ints all_ints(int32_t value) { return (ints){value, value, value, value, value, value, value, value}; }
INLINE floats pick(ints mask, floats yes, floats no) { return (floats)(((ints)yes & mask) | ((ints)no & ~mask)); }
INLINE ints pick_ints(ints mask, ints yes, ints no) { return (yes & mask) | (no & ~mask); }
INLINE floats magnitude(floats value) { return (floats)((ints)value & all_ints(0x7fffffff)); }
INLINE floats as_floats(ints value) { return __builtin_convertvector(value, floats); }

INLINE ints between(ints value, int32_t low, int32_t high) {
    value = pick_ints(value < all_ints(high), value, all_ints(high));
    return pick_ints(value > all_ints(low), value, all_ints(low));
}

/* To the nearest whole number, halves to even, by ggml's way (nearest_int), also where that gives nonsense. */
INLINE ints nearest(floats value) {
    ints bits = (ints)(value + all(12582912.0f));
    return (bits & all_ints(0x007fffff)) - all_ints(0x00400000);
}

INLINE int32_t nearest_one(float value) {
    float moved = value + 12582912.0f;
    int32_t bits;
    memcpy(&bits, &moved, sizeof bits);
    return (bits & 0x007fffff) - 0x00400000;
}

/* float32 -> half precision, to nearest, halves to even. */
INLINE uint16_t to_half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    uint32_t rest = bits & 0x7fffffffu;
    if (rest >= 0x7f800000u) return (uint16_t)(sign | (rest > 0x7f800000u ? 0x7e00u : 0x7c00u));
    if (rest >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* rounds to 65536 or is above it */
    if (rest < 0x38800000u) { /* under 2**-14: fixed point, by an addition that rounds */
        float size, shifted;
        memcpy(&size, &rest, sizeof size);
        shifted = size + 0.5f;
        uint32_t moved;
        memcpy(&moved, &shifted, sizeof moved);
        return (uint16_t)(sign | (moved - 0x3f000000u));
    }
    rest += 0xfffu + ((rest >> 13) & 1u);
    return (uint16_t)(sign | ((rest - 0x38000000u) >> 13));
}

INLINE float from_half(uint16_t half) {
    uint32_t bits = (uint32_t)(half & 0x7fffu) << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f; /* the exponents of the two formats differ by 127 - 15 */
    if ((half & 0x7c00u) == 0x7c00u) {
        bits |= 0x7f800000u;
        memcpy(&value, &bits, sizeof value);
    }
    return half & 0x8000u ? -value : value;
}

INLINE void store_half(uint8_t *out, float value) {
    uint16_t half = to_half(value);
    out[0] = (uint8_t)half;
    out[1] = (uint8_t)(half >> 8);
}

/* The largest of the lanes, and at least 0. */
INLINE float largest_lane(floats values) {
    float four[4], two[2], largest;
    for (int i = 0; i < 4; i++) four[i] = values[i] > values[i + 4] ? values[i] : values[i + 4];
    for (int i = 0; i < 2; i++) two[i] = four[i] > four[i + 2] ? four[i] : four[i + 2];
    largest = two[0] > two[1] ? two[0] : two[1];
    return largest > 0.0f ? largest : 0.0f;
}

/* ---- Q4_K and Q5_K: 8 blocks of 32 weights, w = scale * level - offset ---- */

#define BLOCK 32

/* The best scale and offset of each lane; what its levels came from, for the lane whose scale is too small to store. */
typedef struct {
    floats scale, offset, inverse, from;
    ints flat;
} Affine;

INLINE Affine search_affine(const floats *x, int32_t top, float first, float step, int steps) {
    floats squares = all(0.0f), levels[BLOCK], weights[BLOCK];
    for (int i = 0; i < BLOCK; i++) squares += x[i] * x[i];
    squares /= all((float)BLOCK);
    for (int lane = 0; lane < LANES; lane++) squares[lane] = sqrtf(squares[lane]);
    for (int i = 0; i < BLOCK; i++) weights[i] = squares + magnitude(x[i]);

    floats low = x[0], high = x[0], sum_w = weights[0], sum_x = weights[0] * x[0];
    for (int i = 1; i < BLOCK; i++) {
        low = pick(x[i] < low, x[i], low);
        high = pick(x[i] > high, x[i], high);
        sum_w += weights[i];
        sum_x += weights[i] * x[i];
    }
    low = pick(low > all(0.0f), all(0.0f), low);

    Affine best;
    best.flat = high == low;
    best.offset = -low;
    best.inverse = all((float)top) / (high - low);
    best.scale = all(1.0f) / best.inverse;
    best.from = low;
    floats error = all(0.0f);
    for (int i = 0; i < BLOCK; i++) {
        floats level = as_floats(between(nearest(best.inverse * (x[i] - low)), 0, top));
        floats off = best.scale * level + low - x[i];
        error += weights[i] * (off * off);
    }
    for (int at = 0; at <= steps; at++) {
        floats inverse = all(first + step * (float)at + (float)top) / (high - low);
        floats sum_l = all(0.0f), sum_l2 = all(0.0f), sum_xl = all(0.0f);
        for (int i = 0; i < BLOCK; i++) {
            floats level = as_floats(between(nearest(inverse * (x[i] - low)), 0, top));
            floats weighted = weights[i] * level;
            levels[i] = level;
            sum_l += weighted;
            sum_l2 += weighted * level;
            sum_xl += weighted * x[i];
        }
        floats determinant = sum_w * sum_l2 - sum_l * sum_l;
        ints solvable = determinant > all(0.0f);
        floats scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        floats lowest = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        ints above = lowest > all(0.0f);
        lowest = pick(above, all(0.0f), lowest);
        scale = pick(above, sum_xl / sum_l2, scale);
        floats now = all(0.0f);
        for (int i = 0; i < BLOCK; i++) {
            floats off = scale * levels[i] + lowest - x[i];
            now += weights[i] * (off * off);
        }
        ints better = solvable & (now < error);
        error = pick(better, now, error);
        best.scale = pick(better, scale, best.scale);
        best.inverse = pick(better, inverse, best.inverse);
        best.from = pick(better, low, best.from);
        low = pick(better, lowest, low);
    }
    best.scale = pick(best.flat, all(0.0f), best.scale);
    best.offset = pick(best.flat, best.offset, -low);
    return best;
}

/* Scales and offsets of 6 bits each, in 12 bytes. */
INLINE void pack_scales(const uint8_t *scales, const uint8_t *offsets, uint8_t *out) {
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(scales[i] | (scales[i + 4] >> 4) << 6);
        out[i + 4] = (uint8_t)(offsets[i] | (offsets[i + 4] >> 4) << 6);
        out[i + 8] = (uint8_t)((scales[i + 4] & 15) | (offsets[i + 4] & 15) << 4);
    }
}

INLINE void transpose(const float *from, int length, floats *to) {
    for (int i = 0; i < length; i++)
        for (int lane = 0; lane < LANES; lane++) to[i][lane] = from[lane * length + i];
}

/* Writes the 16 bytes of scales; the levels of the 32 rows of lanes go into `levels`. */
INLINE void affine_levels(const float *from, uint8_t *head, ints *levels, int32_t top, float first, int steps) {
    floats x[BLOCK];
    transpose(from, BLOCK, x);
    Affine best = search_affine(x, top, first, 0.1f, steps);
    float largest_scale = largest_lane(best.scale), largest_offset = largest_lane(best.offset);
    float by_scale = largest_scale > 0 ? 63.0f / largest_scale : 0.0f;
    float by_offset = largest_offset > 0 ? 63.0f / largest_offset : 0.0f;
    uint8_t scales[LANES], offsets[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        uint8_t scale = (uint8_t)nearest_one(by_scale * best.scale[lane]);
        uint8_t offset = (uint8_t)nearest_one(by_offset * best.offset[lane]);
        scales[lane] = scale > 63 ? 63 : scale;
        offsets[lane] = offset > 63 ? 63 : offset;
    }
    store_half(head, largest_scale / 63.0f);
    store_half(head + 2, largest_offset / 63.0f);
    pack_scales(scales, offsets, head + 4);
    float unit = from_half(to_half(largest_scale / 63.0f)), unit_offset = from_half(to_half(largest_offset / 63.0f));
    floats scale, offset;
    for (int lane = 0; lane < LANES; lane++) {
        scale[lane] = unit * scales[lane];
        offset[lane] = unit_offset * offsets[lane];
    }
    ints lost = scale == all(0.0f); /* such a lane keeps the levels of the search */
    for (int i = 0; i < BLOCK; i++) {
        ints level = between(nearest((x[i] + offset) / scale), 0, top);
        ints searched = between(nearest(best.inverse * (x[i] - best.from)), 0, top) & ~best.flat;
        levels[i] = pick_ints(lost, searched, level);
    }
}

CLONES EXPORT void ggship_quantize_q4_k(const float *from, uint8_t *out, int64_t count) {
    for (int64_t block = 0; block < count; block++, from += SUPER, out += 144) {
        ints levels[BLOCK];
        affine_levels(from, out, levels, 15, -1.0f, 20);
        for (int pair = 0; pair < 4; pair++)
            for (int i = 0; i < BLOCK; i++)
                out[16 + BLOCK * pair + i] = (uint8_t)(levels[i][2 * pair] | levels[i][2 * pair + 1] << 4);
    }
}

CLONES EXPORT void ggship_quantize_q5_k(const float *from, uint8_t *out, int64_t count) {
    for (int64_t block = 0; block < count; block++, from += SUPER, out += 176) {
        ints levels[BLOCK];
        affine_levels(from, out, levels, 31, -0.5f, 15);
        for (int i = 0; i < BLOCK; i++) {
            int fifth = 0;
            for (int lane = 0; lane < LANES; lane++) fifth |= (levels[i][lane] >> 4) << lane;
            out[16 + i] = (uint8_t)fifth;
        }
        for (int pair = 0; pair < 4; pair++)
            for (int i = 0; i < BLOCK; i++)
                out[48 + BLOCK * pair + i] =
                    (uint8_t)((levels[i][2 * pair] & 15) | (levels[i][2 * pair + 1] & 15) << 4);
    }
}

/* ---- Q6_K: 16 blocks of 16 weights, w = scale * (level - 32) ---- */

#define SMALL 16
#define GROUPS 2             /* of eight lanes */
#define NOTHING 1e-15f       /* ggml's GROUP_MAX_EPS: a block whose weights are all smaller counts as zeros */

typedef struct {
    floats scale, inverse;
    ints empty;
} Scaled;

INLINE Scaled search_scale(const floats *x) {
    floats largest = all(0.0f), signed_largest = all(0.0f), squares[SMALL], cubes[SMALL];
    for (int i = 0; i < SMALL; i++) {
        ints larger = magnitude(x[i]) > largest;
        largest = pick(larger, magnitude(x[i]), largest);
        signed_largest = pick(larger, x[i], signed_largest);
        squares[i] = x[i] * x[i];
        cubes[i] = squares[i] * x[i];
    }
    Scaled best;
    best.empty = largest < all(NOTHING);
    floats score = all(0.0f);
    for (int step = -10; step <= 9; step++) { /* -10 stands for ggml's first guess, of step 0 */
        if (step == 0) continue;
        floats inverse = all(step == -10 ? -32.0f : -(32.0f + 0.1f * (float)step)) / signed_largest;
        floats sum_lx = all(0.0f), sum_l2 = all(0.0f);
        for (int i = 0; i < SMALL; i++) {
            floats level = as_floats(between(nearest(inverse * x[i]), -32, 31));
            sum_lx += cubes[i] * level;
            sum_l2 += squares[i] * level * level;
        }
        floats scale = sum_lx / sum_l2;
        if (step == -10) {
            best.inverse = inverse;
            best.scale = pick(sum_l2 == all(0.0f), all(0.0f), scale);
            score = best.scale * sum_lx;
        } else {
            ints better = (sum_l2 > all(0.0f)) & (sum_lx * sum_lx > score * sum_l2);
            best.inverse = pick(better, inverse, best.inverse);
            best.scale = pick(better, scale, best.scale);
            score = pick(better, scale * sum_lx, score);
        }
    }
    best.scale = pick(best.empty, all(0.0f), best.scale);
    return best;
}

CLONES EXPORT void ggship_quantize_q6_k(const float *from, uint8_t *out, int64_t count) {
    for (int64_t block = 0; block < count; block++, from += SUPER, out += 210) {
        floats x[GROUPS][SMALL];
        Scaled best[GROUPS];
        float largest = 0.0f, signed_largest = 0.0f;
        for (int group = 0; group < GROUPS; group++) {
            transpose(from + group * LANES * SMALL, SMALL, x[group]);
            best[group] = search_scale(x[group]);
            for (int lane = 0; lane < LANES; lane++) {
                float scale = best[group].scale[lane];
                if (fabsf(scale) > largest) {
                    largest = fabsf(scale);
                    signed_largest = scale;
                }
            }
        }
        if (largest < NOTHING) {
            memset(out, 0, 210);
            continue;
        }
        float by_scale = -128.0f / signed_largest;
        store_half(out + 208, 1 / by_scale);
        float unit = from_half(to_half(1 / by_scale));
        uint8_t levels[SUPER];
        for (int group = 0; group < GROUPS; group++) {
            floats scale;
            for (int lane = 0; lane < LANES; lane++) {
                int32_t whole = nearest_one(by_scale * best[group].scale[lane]);
                int8_t stored = (int8_t)(whole > 127 ? 127 : whole);
                out[192 + group * LANES + lane] = (uint8_t)stored;
                scale[lane] = unit * stored;
            }
            ints lost = scale == all(0.0f);
            for (int i = 0; i < SMALL; i++) {
                ints level = between(nearest(x[group][i] / scale), -32, 31) + all_ints(32);
                ints searched = between(nearest(best[group].inverse * x[group][i]), -32, 31) + all_ints(32);
                level = pick_ints(lost, searched & ~best[group].empty, level);
                for (int lane = 0; lane < LANES; lane++)
                    levels[(group * LANES + lane) * SMALL + i] = (uint8_t)level[lane];
            }
        }
        for (int half = 0; half < 2; half++) {
            const uint8_t *four = levels + 128 * half;
            for (int i = 0; i < 32; i++) {
                out[64 * half + i] = (uint8_t)((four[i] & 15) | (four[i + 64] & 15) << 4);
                out[64 * half + i + 32] = (uint8_t)((four[i + 32] & 15) | (four[i + 96] & 15) << 4);
                int low = four[i] >> 4 | (four[i + 32] >> 4) << 2, high = four[i + 64] >> 4 | (four[i + 96] >> 4) << 2;
                out[128 + 32 * half + i] = (uint8_t)(low | high << 4);
            }
        }
    }
}

/* ---- Q8_0: blocks of 32 weights, w = scale * level ---- */

/* The largest magnitude of 32 weights; of numbers that are not negative the bits are in the order of the numbers. */
INLINE float largest_of_block(const float *from) {
    ints sizes[4];
    for (int i = 0; i < 4; i++) sizes[i] = (ints)magnitude(*(const loose_floats *)(from + i * LANES));
    for (int i = 0; i < 2; i++) sizes[i] = pick_ints(sizes[i] > sizes[i + 2], sizes[i], sizes[i + 2]);
    ints larger = pick_ints(sizes[0] > sizes[1], sizes[0], sizes[1]);
    int32_t bits = 0;
    for (int lane = 0; lane < LANES; lane++) bits = larger[lane] > bits ? larger[lane] : bits;
    float largest;
    memcpy(&largest, &bits, sizeof largest);
    return largest;
}

/* False, with `out` unfinished, for weights so small (under 1e-36) that C leaves open what ggml makes of them. */
CLONES EXPORT int32_t ggship_quantize_q8_0(const float *from, uint8_t *out, int64_t count) {
    for (int64_t block = 0; block < count; block++, from += BLOCK, out += 34) {
        float scale = largest_of_block(from) / 127.0f, inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
        if (inverse > 0x1.fffffep127f) return 0;
        store_half(out, scale);
        int32_t levels[BLOCK];
        for (int i = 0; i < BLOCK; i++) {
            /* Just below a half: added and cut off, it rounds as roundf does, halves away from zero. */
            float level = from[i] * inverse;
            levels[i] = (int32_t)(level + copysignf(0x1.fffffep-2f, level));
        }
        for (int i = 0; i < BLOCK; i++) out[2 + i] = (uint8_t)levels[i];
    }
    return 1;
}

/* ---- F16 ---- */

CLONES EXPORT void ggship_read_f16(const uint16_t *from, float *out, int64_t count) {
    uint32_t special = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)(from[i] & 0x7fffu) << 13, sign = (uint32_t)(from[i] & 0x8000u) << 16;
        special |= (from[i] & 0x7c00u) == 0x7c00u;
        float size;
        memcpy(&size, &bits, sizeof size);
        size *= 0x1p112f;
        memcpy(&bits, &size, sizeof bits);
        bits |= sign;
        memcpy(out + i, &bits, sizeof bits);
    }
    if (special)
        for (int64_t i = 0; i < count; i++) out[i] = from_half(from[i]);
}

/* ---- W + B @ A ---- */

typedef double loose_doubles __attribute__((vector_size(32), aligned(8), may_alias));
typedef int64_t longs __attribute__((vector_size(32)));
typedef float quad __attribute__((vector_size(16)));
typedef float loose_quad __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t quad_ints __attribute__((vector_size(16)));
typedef int64_t pair __attribute__((vector_size(16)));

INLINE int none(quad_ints flags) { return !(((pair)flags)[0] | ((pair)flags)[1]); }

#define TALL 4 /* rows of a tile, of 8 columns */

/* A float64 has 29 bits more than a float32: those of a sum in the middle between two float32 are 2**28. */
#define BELOW ((1ll << 29) - 1)
#define MIDDLE (1ll << 28)
#define NEAR (1ll << 13)

INLINE quad_ints doubtful(doubles total, quad merged, float limit) {
    const longs low = {MIDDLE - NEAR, MIDDLE - NEAR, MIDDLE - NEAR, MIDDLE - NEAR};
    const longs below = {BELOW, BELOW, BELOW, BELOW}, width = {2 * NEAR, 2 * NEAR, 2 * NEAR, 2 * NEAR};
    longs near = (((longs)total - low) & below) <= width;
    quad_ints mask = (quad_ints)merged & (quad_ints){0x7fffffff, 0x7fffffff, 0x7fffffff, 0x7fffffff};
    quad_ints small = (quad)mask < (quad){limit, limit, limit, limit};
    return __builtin_convertvector(near, quad_ints) | small;
}

/* What is known of each row: the size below which a merged weight is unsafe; a power of two that all its products are
 * multiples of; a bound of any sum of some of a weight's products. */
typedef struct {
    const float *limits;
    const double *units, *reach;
} Rows;

/* The largest power of two that the weight is a multiple of. */
INLINE double unit_of(float w) {
    uint32_t bits;
    memcpy(&bits, &w, sizeof bits);
    uint32_t fraction = bits & 0x7fffffu, exponent = bits >> 23 & 0xffu;
    if (exponent) fraction |= 0x800000u;
    else exponent = 1;
    if (!fraction) return INFINITY;
    uint64_t wide = (uint64_t)(exponent + 1023 - 150 + (uint32_t)__builtin_ctz(fraction)) << 52;
    double unit;
    memcpy(&unit, &wide, sizeof unit);
    return unit;
}

/* No float64 on the way to this sum was rounded, in whatever order it was added: all are multiples of a unit that 2**53
 * of reach further than the sum can. */
INLINE int was_exact(float w, double unit, double reach) {
    double own = unit_of(w);
    return reach + fabs((double)w) < (own < unit ? own : unit) * 0x1p53;
}

/* `tall` rows; `a` in tiles: see ggship_merge. `at` in the loops is the place of a weight in the rows. */
INLINE int64_t merge_rows(const int tall, const float *w, const double *b, const double *a, int64_t columns,
                          int64_t rank, Rows known, double *delta, float *merged, int64_t first, int64_t *unsafe,
                          int64_t found, int64_t room) {
    for (int64_t column = 0; column < columns; column += 8, a += 8 * rank) {
        doubles sums[TALL][2] = {{{0}}};
        for (int64_t k = 0; k < rank; k++) {
            doubles left = *(const loose_doubles *)(a + 8 * k), right = *(const loose_doubles *)(a + 8 * k + 4);
            for (int row = 0; row < tall; row++) {
                double factor = b[row * rank + k];
                doubles factors = {factor, factor, factor, factor};
                sums[row][0] += factors * left;
                sums[row][1] += factors * right;
            }
        }
        quad_ints flags[TALL][2], any = {0};
        for (int row = 0; row < tall; row++)
            for (int part = 0; part < 2; part++) {
                int64_t at = row * columns + column + 4 * part;
                if (column + 8 <= columns) {
                    quad was = *(const loose_quad *)(w + at);
                    doubles total = __builtin_convertvector(was, doubles) + sums[row][part];
                    quad rounded = __builtin_convertvector(total, quad);
                    *(loose_doubles *)(delta + at) = sums[row][part];
                    *(loose_quad *)(merged + at) = rounded;
                    flags[row][part] = doubtful(total, rounded, known.limits[row]);
                } else {
                    int64_t there = columns - column - 4 * part;
                    doubles total = {0};
                    quad rounded = {0};
                    for (int lane = 0; lane < 4 && lane < there; lane++) {
                        delta[at + lane] = sums[row][part][lane];
                        total[lane] = w[at + lane] + sums[row][part][lane];
                        merged[at + lane] = rounded[lane] = (float)total[lane];
                    }
                    flags[row][part] = doubtful(total, rounded, known.limits[row]);
                    for (int lane = 0; lane < 4; lane++)
                        if (lane >= there) flags[row][part][lane] = 0;
                }
                any |= flags[row][part];
            }
        if (none(any)) continue;
        for (int row = 0; row < tall; row++)
            for (int part = 0; part < 2; part++) {
                if (none(flags[row][part])) continue;
                for (int lane = 0; lane < 4; lane++) {
                    int64_t at = row * columns + column + 4 * part + lane;
                    if (!flags[row][part][lane] || was_exact(w[at], known.units[row], known.reach[row])) continue;
                    if (found < room) unsafe[found] = first + at;
                    found++;
                }
            }
    }
    return found;
}

/* delta = b @ a, merged = w + delta rounded once; the flat indices of the weights that the error of the sums may have
 * rounded wrongly, in no order. How many these are is returned; beyond `room` they are only counted.
 * w, merged: float32 [rows, columns]; b: float64 [rows, rank]; delta: float64 like w; limits: float32 [rows], units and
 * reach: float64 [rows], see Rows. a: float64 [rank, columns], filled up with zeros to a multiple of 8 columns and
 * stored as [columns / 8, rank, 8], since rows that lie a power of two apart would push each other out of the cache. */
CLONES EXPORT int64_t ggship_merge(const float *w, const double *b, const double *a, int64_t rows, int64_t columns,
                                   int64_t rank, const float *limits, const double *units, const double *reach,
                                   double *delta, float *merged, int64_t *unsafe, int64_t room) {
    int64_t found = 0, row = 0;
    for (; row + TALL <= rows; row += TALL) {
        Rows known = {limits + row, units + row, reach + row};
        int64_t at = row * columns;
        found = merge_rows(TALL, w + at, b + row * rank, a, columns, rank, known, delta + at, merged + at, at, unsafe,
                           found, room);
    }
    for (; row < rows; row++) {
        Rows known = {limits + row, units + row, reach + row};
        int64_t at = row * columns;
        found = merge_rows(1, w + at, b + row * rank, a, columns, rank, known, delta + at, merged + at, at, unsafe,
                           found, room);
    }
    return found;
}

/* seen[0] = <stored - w, delta>, seen[1] = <w, w>, in float64, in an order that no processor changes. */
CLONES EXPORT void ggship_measure(const float *stored, const float *w, const double *delta, int64_t count,
                                  double *seen) {
    doubles kept[2] = {{0}}, base[2] = {{0}};
    int64_t at = 0;
    for (; at + 8 <= count; at += 8)
        for (int part = 0; part < 2; part++) {
            quad now = *(const loose_quad *)(stored + at + 4 * part), was = *(const loose_quad *)(w + at + 4 * part);
            doubles wide = __builtin_convertvector(was, doubles);
            kept[part] += __builtin_convertvector(now - was, doubles) * *(const loose_doubles *)(delta + at + 4 * part);
            base[part] += wide * wide;
        }
    for (; at < count; at++) {
        kept[0][0] += (double)(stored[at] - w[at]) * delta[at];
        base[0][0] += (double)w[at] * w[at];
    }
    kept[0] += kept[1];
    base[0] += base[1];
    seen[0] = kept[0][0] + kept[0][1] + kept[0][2] + kept[0][3];
    seen[1] = base[0][0] + base[0][1] + base[0][2] + base[0][3];
}
