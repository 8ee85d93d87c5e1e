# What is installed, and the .deb that CPack makes of it: `cpack -G DEB` in a release build.
set(package ${CMAKE_SOURCE_DIR}/tools/package)
set(doc share/doc/bindery)

install(TARGETS bindery RUNTIME DESTINATION bin)
install(FILES ${package}/bindery.service ${package}/bindery-gateway.service DESTINATION lib/systemd/system)
install(FILES ${package}/bindery.sysusers DESTINATION lib/sysusers.d RENAME bindery.conf)
install(FILES ${package}/bindery.tmpfiles DESTINATION lib/tmpfiles.d RENAME bindery.conf)
install(FILES ${package}/bindery.toml ${package}/gateway.toml DESTINATION /etc/bindery)
install(FILES README.md CHANGELOG.md SPEC.md DESTINATION ${doc})
install(FILES LICENSE DESTINATION ${doc} RENAME copyright)
install(DIRECTORY docs/ops/ DESTINATION ${doc}/ops)
if(EXISTS ${CMAKE_SOURCE_DIR}/docs/man)
    install(DIRECTORY docs/man/ DESTINATION share/man/man1 FILES_MATCHING PATTERN "*.1")
endif()

# Completions are what the program itself prints.
if(EXISTS ${CMAKE_SOURCE_DIR}/tools/cmd_completion.c)
    set(completions)
    foreach(pair "bash:bindery.bash" "zsh:_bindery" "fish:bindery.fish")
        string(REPLACE ":" ";" pair ${pair})
        list(GET pair 0 shell)
        list(GET pair 1 file)
        add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/completion/${file}
            COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/completion
            COMMAND $<TARGET_FILE:bindery> completion ${shell} > ${CMAKE_BINARY_DIR}/completion/${file}
            DEPENDS bindery VERBATIM)
        list(APPEND completions ${CMAKE_BINARY_DIR}/completion/${file})
    endforeach()
    add_custom_target(completions ALL DEPENDS ${completions})
    install(FILES ${CMAKE_BINARY_DIR}/completion/bindery.bash DESTINATION share/bash-completion/completions RENAME bindery)
    install(FILES ${CMAKE_BINARY_DIR}/completion/_bindery DESTINATION share/zsh/vendor-completions)
    install(FILES ${CMAKE_BINARY_DIR}/completion/bindery.fish DESTINATION share/fish/vendor_completions.d)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME bindery)
set(CPACK_PACKAGE_CONTACT "Bindery maintainers <bindery@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "storage cluster under Cloudflare Workers, on one's own machines")
set(CPACK_PACKAGE_DESCRIPTION "One binary, three or more nodes: replicated S3 and R2 objects and\n\
Durable Objects for unmodified workerd, wrangler and S3 clients.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, chrony | time-daemon")
file(WRITE ${CMAKE_BINARY_DIR}/package/conffiles "/etc/bindery/bindery.toml\n/etc/bindery/gateway.toml\n")
file(CHMOD ${CMAKE_BINARY_DIR}/package/conffiles PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_BINARY_DIR}/package/conffiles ${package}/postinst ${package}/prerm
    ${package}/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
