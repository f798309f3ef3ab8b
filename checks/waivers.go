package checks

import (
	"fmt"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)
