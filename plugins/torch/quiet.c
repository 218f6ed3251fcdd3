/* Keeping a package's words off stderr.
 *
 * The C++ that PyTorch writes into a package prints each failure to std::cerr, stack and
 * all, before it returns it: a thousand bad rows would be as many pages of somebody's
 * log. So once a package is loaded, the one place in it that says where std::cerr is gets
 * the address of a copy of that stream, marked as broken, for nothing is written to a
 * broken stream. Nobody else in the process notices.
 *
 * What is needed of the layout is in the C++ ABI: the table of virtual functions says
 * where in a stream its std::ios_base lies, and there, behind a pointer, two long
 * integers and two of 4 bytes, its state. Where something looks otherwise, all stays as
 * it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "torch_plugin.h"

#define STREAM "_ZSt4cerr"
enum { STATE_OFFSET = 32, BAD = 1, LARGEST_STREAM = 4096 };

/* --- the broken copy ----------------------------------------------------------------- */

/* Lives as long as the process; NULL if the stream is not as expected. */
static void *broken_copy(const void *stream) {
  Dl_info info;
  void *found = NULL;
  if (dladdr1(stream, &info, &found, RTLD_DL_SYMENT) == 0 || found == NULL) {
    return NULL;
  }
  const ElfW(Sym) *symbol = found;
  if (info.dli_saddr != stream || symbol->st_size > LARGEST_STREAM ||
      symbol->st_size < STATE_OFFSET) {
    return NULL;
  }
  const char *virtual_table;
  ptrdiff_t base;
  memcpy((void *)&virtual_table, stream, sizeof virtual_table);
  memcpy(&base, virtual_table - 3 * sizeof base, sizeof base);
  int32_t state;
  if (base <= 0 || (size_t)base + STATE_OFFSET + sizeof state > symbol->st_size) {
    return NULL;
  }
  char *copy = malloc(symbol->st_size);
  if (copy == NULL) {
    return NULL;
  }
  memcpy(copy, stream, symbol->st_size);
  memcpy(&state, copy + base + STATE_OFFSET, sizeof state);
  if ((state & ~7) != 0) { /* three flags are all there are */
    free(copy);
    return NULL;
  }
  state |= BAD;
  memcpy(copy + base + STATE_OFFSET, &state, sizeof state);
  return copy;
}

/* --- the place ----------------------------------------------------------------------- */

/* What the loader made read-only when it was done. */
static bool is_read_only(const struct link_map *map, uintptr_t at) {
  const ElfW(Ehdr) *file = (const ElfW(Ehdr) *)map->l_addr;
  const ElfW(Phdr) *parts = (const ElfW(Phdr) *)(map->l_addr + file->e_phoff);
  for (ElfW(Half) i = 0; i < file->e_phnum; ++i) {
    uintptr_t start = map->l_addr + parts[i].p_vaddr;
    if (parts[i].p_type == PT_GNU_RELRO && at >= start && at < start + parts[i].p_memsz) {
      return true;
    }
  }
  return false;
}

static void write_place(const struct link_map *map, void **place, void *value) {
  uintptr_t page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t at = (uintptr_t)place;
  char *page = (char *)place - at % page_size;
  bool protect = is_read_only(map, at);
  if (!protect || mprotect(page, page_size, PROT_READ | PROT_WRITE) == 0) {
    *place = value;
  }
  if (protect) {
    (void)mprotect(page, page_size, PROT_READ);
  }
}

void vonk_torch_quiet(void *library) {
  struct link_map *map = NULL;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0 || map == NULL) {
    return;
  }
  const ElfW(Rela) *places = NULL;
  const ElfW(Sym) *symbols = NULL;
  const char *names = NULL;
  size_t nbytes = 0;
  for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; ++entry) {
    uintptr_t pointer = (uintptr_t)entry->d_un.d_ptr; /* glibc has added the address */
    if (entry->d_tag == DT_RELA) {
      places = (const ElfW(Rela) *)pointer;
    } else if (entry->d_tag == DT_SYMTAB) {
      symbols = (const ElfW(Sym) *)pointer;
    } else if (entry->d_tag == DT_STRTAB) {
      names = (const char *)pointer;
    } else if (entry->d_tag == DT_RELASZ) {
      nbytes = (size_t)entry->d_un.d_val;
    }
  }
  if (places == NULL || symbols == NULL || names == NULL ||
      (uintptr_t)names < map->l_addr) {
    return;
  }
  for (size_t i = 0; i < nbytes / sizeof *places; ++i) {
    const ElfW(Sym) *symbol = &symbols[ELF64_R_SYM(places[i].r_info)];
    void **place = (void **)(map->l_addr + places[i].r_offset);
    if (strcmp(names + symbol->st_name, STREAM) == 0 && places[i].r_addend == 0) {
      void *copy = broken_copy(*place);
      if (copy != NULL) {
        write_place(map, place, copy);
      }
    }
  }
}
