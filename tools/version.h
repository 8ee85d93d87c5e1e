#ifndef BND_TOOLS_VERSION_H
#define BND_TOOLS_VERSION_H

/* As in CMakeLists.txt; raised by each release. */
#define BND_VERSION "0.1.0"

#endif
