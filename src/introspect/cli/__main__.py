from introspect.cli import main

raise SystemExit(main())
