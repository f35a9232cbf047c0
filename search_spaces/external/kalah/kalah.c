/* Kalah (six pits, four seeds): a player with weights from an INI file against one that counts its store only.
 *
 *   kalah --config kalah.ini --games 50 --seed 1
 *
 * Game i follows from seed + i alone: four random opening moves, then both look ahead. Even seeds let us begin.
 * The answer is one JSON object on stdout: {"games":[1,0,0.5,...]}. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PITS = 6, STORE = 6, SIDE = 7, CELLS = 14, SEEDS = 4, OPENING_MOVES = 4, OPPONENT_DEPTH = 3, WON = 1000 };

typedef struct { int cells[CELLS]; int turn; } Board; /* side s owns cells 7s to 7s + 5 and the store 7s + 6 */

typedef struct { double store, side, mobility, far_pit, extra_turn, threat; } Weights;

typedef struct { Weights weights; int depth; } Player;

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int legal(const Board *board, int pit) { return board->cells[SIDE * board->turn + pit] > 0; }

static int seeds_in_pits(const Board *board, int side) {
    int sum = 0;
    for (int pit = 0; pit < PITS; pit++) sum += board->cells[SIDE * side + pit];
    return sum;
}

/* Sow; capture; take another turn after a last seed in the own store. A side without seeds ends the game. */
static void move(Board *board, int pit) {
    int me = board->turn, own_store = SIDE * me + STORE, other_store = SIDE * (1 - me) + STORE;
    int cell = SIDE * me + pit, hand = board->cells[cell];
    board->cells[cell] = 0;
    while (hand > 0) {
        cell = (cell + 1) % CELLS;
        if (cell == other_store) continue;
        board->cells[cell]++;
        hand--;
    }
    int opposite = CELLS - 2 - cell;
    if (cell / SIDE == me && cell != own_store && board->cells[cell] == 1 && board->cells[opposite] > 0) {
        board->cells[own_store] += board->cells[opposite] + 1;
        board->cells[opposite] = board->cells[cell] = 0;
    }
    if (cell != own_store) board->turn = 1 - me;
    for (int side = 0; side < 2; side++) {
        if (seeds_in_pits(board, side) > 0) continue;
        for (int other = 0; other < PITS; other++) {
            int from = SIDE * (1 - side) + other;
            board->cells[SIDE * (1 - side) + STORE] += board->cells[from];
            board->cells[from] = 0;
        }
    }
}

static int over(const Board *board) { return seeds_in_pits(board, 0) + seeds_in_pits(board, 1) == 0; }

static int lead(const Board *board, int side) {
    return board->cells[SIDE * side + STORE] - board->cells[SIDE * (1 - side) + STORE];
}

/* What the side's own pits promise: everything but the stores. */
static double prospects(const Board *board, int side, const Weights *weights) {
    double value = weights->far_pit * board->cells[SIDE * side];
    for (int pit = 0; pit < PITS; pit++) {
        int seeds = board->cells[SIDE * side + pit], end = pit + seeds;
        value += weights->side * seeds + weights->mobility * (seeds > 0);
        if (seeds > 0 && end == STORE) value += weights->extra_turn;
        if (seeds > 0 && end < PITS && board->cells[SIDE * side + end] == 0)
            value += weights->threat * board->cells[CELLS - 2 - (SIDE * side + end)];
    }
    return value;
}

static double judge(const Board *board, int side, const Weights *weights) {
    if (over(board)) return WON * (double)((lead(board, side) > 0) - (lead(board, side) < 0));
    return weights->store * lead(board, side) + prospects(board, side, weights) - prospects(board, 1 - side, weights);
}

/* The best value that `side` can reach: its own moves maximize, the other's minimize (alpha-beta). */
static double search(const Board *board, int side, int depth, double low, double high, const Weights *weights) {
    if (depth == 0 || over(board)) return judge(board, side, weights);
    int ours = board->turn == side;
    for (int pit = 0; pit < PITS && low < high; pit++) {
        if (!legal(board, pit)) continue;
        Board next = *board;
        move(&next, pit);
        double value = search(&next, side, depth - 1, low, high, weights);
        if (ours && value > low) low = value;
        if (!ours && value < high) high = value;
    }
    return ours ? low : high;
}

static int choose(const Board *board, const Player *player) {
    int best = -1;
    double best_value = 0;
    for (int pit = 0; pit < PITS; pit++) {
        if (!legal(board, pit)) continue;
        Board next = *board;
        move(&next, pit);
        double value = search(&next, board->turn, player->depth - 1, -1e9, 1e9, &player->weights);
        if (best < 0 || value > best_value) best = pit, best_value = value;
    }
    return best;
}

static double play(uint64_t seed, const Player *us, const Player *them) {
    Board board = {.turn = 0};
    for (int cell = 0; cell < CELLS; cell++) board.cells[cell] = cell % SIDE == STORE ? 0 : SEEDS;
    uint64_t state = seed;
    for (int moves = 0; moves < OPENING_MOVES;) {
        int pit = (int)(next_random(&state) % PITS);
        if (legal(&board, pit)) move(&board, pit), moves++;
    }
    int our_side = (int)(seed & 1);
    while (!over(&board)) move(&board, choose(&board, board.turn == our_side ? us : them));
    int margin = lead(&board, our_side);
    return margin > 0 ? 1 : margin < 0 ? 0 : 0.5;
}

static void fail(const char *what, const char *which) {
    fprintf(stderr, "kalah: %s: %s\n", what, which);
    exit(2);
}

static double read_value(const char *path, const char *section, const char *key) {
    char line[256], found_section[64] = "", found_key[64];
    double value;
    FILE *file = fopen(path, "r");
    if (!file) fail("cannot open", path);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, " [%63[^]]]", found_section) == 1) continue;
        if (sscanf(line, " %63[a-z_] = %lf", found_key, &value) != 2) continue;
        if (strcmp(found_section, section) == 0 && strcmp(found_key, key) == 0) return fclose(file), value;
    }
    fail("no such value in the configuration", key);
    return 0;
}

static Player read_player(const char *path) {
    return (Player){
        .weights = {.store = read_value(path, "evaluation", "store"),
                    .side = read_value(path, "evaluation", "side"),
                    .mobility = read_value(path, "evaluation", "mobility"),
                    .far_pit = read_value(path, "evaluation", "far_pit"),
                    .extra_turn = read_value(path, "evaluation", "extra_turn"),
                    .threat = read_value(path, "evaluation", "threat")},
        .depth = (int)read_value(path, "search", "depth"),
    };
}

static const char *option(int count, char **arguments, const char *name) {
    for (int i = 1; i + 1 < count; i++)
        if (strcmp(arguments[i], name) == 0) return arguments[i + 1];
    fail("missing option", name);
    return NULL;
}

int main(int count, char **arguments) {
    Player us = read_player(option(count, arguments, "--config"));
    Player them = {.weights = {.store = 1}, .depth = OPPONENT_DEPTH};
    long games = strtol(option(count, arguments, "--games"), NULL, 10);
    uint64_t seed = strtoull(option(count, arguments, "--seed"), NULL, 10);
    printf("{\"games\":[");
    for (long game = 0; game < games; game++) printf("%s%g", game ? "," : "", play(seed + (uint64_t)game, &us, &them));
    printf("]}\n");
    return 0;
}
